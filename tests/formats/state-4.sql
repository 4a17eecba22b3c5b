BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795908433464748);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795908433447792,'prepare.begun','base/minimal','{"run": "01a2247bf627301c7c3ac98029ef"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795908433465921,'prepare.decided','base/minimal','{"run": "01a2247bf627301c7c3ac98029ef", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795908433471336,'token.issued','token/44bd55188cb9','{"organisation": "local", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795908433475803,'create.begun','sprite/sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"run": "01a2247bf64319e37049622cd8e8"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795908433486475,'sprite.recorded','sprite/sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"name": "drowsy"}','68bacd1f','drowsy');
INSERT INTO "events" VALUES(6,1795908433514642,'create.decided','sprite/sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"run": "01a2247bf64319e37049622cd8e8", "ending": "done", "error": null}','68bacd1f','drowsy');
INSERT INTO "events" VALUES(7,1795908433518134,'create.begun','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"run": "01a2247bf66ed77bd4636d86e002"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795908433526700,'sprite.recorded','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"name": "asleep"}','68bacd1f','asleep');
INSERT INTO "events" VALUES(9,1795908433592981,'create.decided','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"run": "01a2247bf66ed77bd4636d86e002", "ending": "done", "error": null}','68bacd1f','asleep');
INSERT INTO "events" VALUES(10,1795908433605296,'create.begun','sprite/sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"run": "01a2247bf6c5e8a39dff286f5cd8"}',NULL,NULL);
INSERT INTO "events" VALUES(11,1795908433606399,'sprite.recorded','sprite/sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"name": "stopping"}','68bacd1f','stopping');
INSERT INTO "events" VALUES(12,1795908433620065,'create.decided','sprite/sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"run": "01a2247bf6c5e8a39dff286f5cd8", "ending": "done", "error": null}','68bacd1f','stopping');
INSERT INTO "events" VALUES(13,1795908433625215,'hold.put','sprite/sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"hold": "build", "expires_us": null}','68bacd1f','drowsy');
INSERT INTO "events" VALUES(14,1795908433633076,'forced_sleep.begun','sprite/sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"run": "01a2247bf6e0a7091708bb82c0da"}','68bacd1f','drowsy');
INSERT INTO "events" VALUES(15,1795908433636950,'sleep.begun','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"run": "01a2247bf6e49daaba4f8a9e2035"}','68bacd1f','asleep');
INSERT INTO "events" VALUES(16,1795908433652470,'sprite.warm','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"why": "unused for 30 s"}','68bacd1f','asleep');
INSERT INTO "events" VALUES(17,1795908433653041,'sleep.decided','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"run": "01a2247bf6e49daaba4f8a9e2035", "ending": "done", "error": null}','68bacd1f','asleep');
INSERT INTO "events" VALUES(18,1795908433666370,'wake.begun','sprite/sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"run": "01a2247bf702ccbb6adf7c375ddc"}','68bacd1f','asleep');
INSERT INTO "events" VALUES(19,1795908433667261,'stop.begun','sprite/sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"run": "01a2247bf703a673ed662c03759c"}','68bacd1f','stopping');
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','build',1795908433625129,NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('49d6fdcb88e8d6','container',131072,1795908433490003,2147483648,2);
INSERT INTO "machines" VALUES('0dda26ad64f3a2','container',196608,1795908433538092,2147483648,2);
INSERT INTO "machines" VALUES('cfc928d2f9a273','container',262144,1795908433607980,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('68bacd1f','local',1795908433469249);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2247bf627301c7c3ac98029ef','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908433447726,1795908433468829,1,NULL);
INSERT INTO "runs" VALUES('01a2247bf64319e37049622cd8e8','sprite','create','sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"organisation": "68bacd1f", "name": "drowsy", "suffix": "d7db", "machine": "49d6fdcb88e8d6", "volume": "sprite-3c8e73e6-897a-4b49-910b-0d23487cfe61", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908433475770,1795908433517074,2,NULL);
INSERT INTO "runs" VALUES('01a2247bf66ed77bd4636d86e002','sprite','create','sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"organisation": "68bacd1f", "name": "asleep", "suffix": "c20c", "machine": "0dda26ad64f3a2", "volume": "sprite-5bce71f1-d63d-4f93-a0d0-3457a71ad826", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908433518100,1795908433600915,2,NULL);
INSERT INTO "runs" VALUES('01a2247bf6c5e8a39dff286f5cd8','sprite','create','sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"organisation": "68bacd1f", "name": "stopping", "suffix": "92cb", "machine": "cfc928d2f9a273", "volume": "sprite-5dfbb847-cb62-450b-9674-f0fc15980825", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908433605266,1795908433624789,2,NULL);
INSERT INTO "runs" VALUES('01a2247bf6e0a7091708bb82c0da','sprite','forced_sleep','sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','{"why": "unused for 30 s", "force": true}','["freeze", "publish"]',NULL,1795908433633053,NULL,1,NULL);
INSERT INTO "runs" VALUES('01a2247bf6e49daaba4f8a9e2035','sprite','sleep','sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{"why": "unused for 30 s", "force": false}','["freeze", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908433636931,1795908433665122,1,NULL);
INSERT INTO "runs" VALUES('01a2247bf702ccbb6adf7c375ddc','sprite','wake','sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','{}','["boot", "world", "publish"]',NULL,1795908433666338,NULL,1,NULL);
INSERT INTO "runs" VALUES('01a2247bf703a673ed662c03759c','sprite','stop','sprite-adbbb021-bd0f-417a-8090-f5d220500f59','{"why": "warm for 60 s"}','["down", "detach", "publish"]',NULL,1795908433667238,NULL,1,NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
INSERT INTO "schema_version" VALUES(6);
INSERT INTO "schema_version" VALUES(7);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-23572a71-776d-4fc1-8d11-4fa4ea6e9ebe','68bacd1f','drowsy','d7db','49d6fdcb88e8d6','sprite-3c8e73e6-897a-4b49-910b-0d23487cfe61','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908433486280,1795908433512490,1795908433512487,NULL,'{"cold_after_s":60.0,"protected":true}','null');
INSERT INTO "sprites" VALUES('sprite-0ab9a92a-1824-41cb-b216-0342d5bca08a','68bacd1f','asleep','c20c','0dda26ad64f3a2','sprite-5bce71f1-d63d-4f93-a0d0-3457a71ad826','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908433526616,1795908433652373,1795908433589698,1795908433652337,'{"cold_after_s":60.0,"protected":true}','{"status":"warm","at_us":1795908433652337,"why":"unused for 30 s"}');
INSERT INTO "sprites" VALUES('sprite-adbbb021-bd0f-417a-8090-f5d220500f59','68bacd1f','stopping','92cb','cfc928d2f9a273','sprite-5dfbb847-cb62-450b-9674-f0fc15980825','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908433606320,1795908433619270,1795908433619268,NULL,'{"cold_after_s":60.0,"protected":true}','null');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('44bd55188cb9','68bacd1f','93f356fa110be3dfd2d389f534f23ca0f46fdb0a770d9f9879223d62587f3aab','test',1795908433471284,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2247bf627301c7c3ac98029ef','archive',1,1,NULL,'{"path": "/tmp/tmp_n7p50p0/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795908433458565,1);
INSERT INTO "transitions" VALUES('01a2247bf627301c7c3ac98029ef','fill',1,1,NULL,'null',1795908433464310,1);
INSERT INTO "transitions" VALUES('01a2247bf627301c7c3ac98029ef','seal',1,1,NULL,'null',1795908433464562,1);
INSERT INTO "transitions" VALUES('01a2247bf627301c7c3ac98029ef','publish',1,1,NULL,'null',1795908433465560,1);
INSERT INTO "transitions" VALUES('01a2247bf627301c7c3ac98029ef','retire',1,1,NULL,'null',1795908433465682,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','record',1,1,NULL,'null',1795908433488036,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','disk',1,1,NULL,'null',1795908433489205,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','machine',1,1,NULL,'null',1795908433493286,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908433497916,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','world',1,1,NULL,'{"was": "none"}',1795908433512222,1);
INSERT INTO "transitions" VALUES('01a2247bf64319e37049622cd8e8','publish',1,1,NULL,'null',1795908433514389,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','record',1,1,NULL,'null',1795908433536593,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','disk',1,1,NULL,'null',1795908433537815,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','machine',1,1,NULL,'null',1795908433548621,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908433555917,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','world',1,1,NULL,'{"was": "none"}',1795908433589520,1);
INSERT INTO "transitions" VALUES('01a2247bf66ed77bd4636d86e002','publish',1,1,NULL,'null',1795908433592763,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','record',1,1,NULL,'null',1795908433606954,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','disk',1,1,NULL,'null',1795908433607688,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','machine',1,1,NULL,'null',1795908433608573,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908433610024,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','world',1,1,NULL,'{"was": "none"}',1795908433619086,1);
INSERT INTO "transitions" VALUES('01a2247bf6c5e8a39dff286f5cd8','publish',1,1,NULL,'null',1795908433619872,1);
INSERT INTO "transitions" VALUES('01a2247bf6e49daaba4f8a9e2035','freeze',1,1,NULL,'null',1795908433652157,1);
INSERT INTO "transitions" VALUES('01a2247bf6e49daaba4f8a9e2035','publish',1,1,NULL,'null',1795908433652580,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',19);
COMMIT;
