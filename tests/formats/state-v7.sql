BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953348114845);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-34bf4249-15fd-435c-b950-1059a65c1878','v1',1,NULL,'kept',0,1,1.5,1795953348936319);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953348040528,'prepare.begun','base/minimal','{"run": "01a227294dc8c16f5cb0bf5d1442"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953348125346,'prepare.decided','base/minimal','{"run": "01a227294dc8c16f5cb0bf5d1442", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953348147635,'token.issued','token/3fbc6dcb1f88','{"organisation": "local", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953348366750,'create.begun','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"run": "01a227294f0e0960db7ece3ec4b0"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953348379170,'sprite.recorded','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"name": "web"}','c3168d97','web');
INSERT INTO "events" VALUES(6,1795953348437285,'create.decided','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"run": "01a227294f0e0960db7ece3ec4b0", "ending": "done", "error": null}','c3168d97','web');
INSERT INTO "events" VALUES(7,1795953348581275,'create.begun','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"run": "01a227294fe59e25b243bb621c4e"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953348592553,'sprite.recorded','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"name": "cold"}','c3168d97','cold');
INSERT INTO "events" VALUES(9,1795953348665278,'create.decided','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"run": "01a227294fe59e25b243bb621c4e", "ending": "done", "error": null}','c3168d97','cold');
INSERT INTO "events" VALUES(10,1795953348924891,'checkpoint.begun','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"run": "01a22729513c0614d8d38b7ad40f"}','c3168d97','web');
INSERT INTO "events" VALUES(11,1795953348936711,'checkpoint.published','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"checkpoint": "v1"}','c3168d97','web');
INSERT INTO "events" VALUES(12,1795953348945404,'checkpoint.decided','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"run": "01a22729513c0614d8d38b7ad40f", "ending": "done", "error": null}','c3168d97','web');
INSERT INTO "events" VALUES(13,1795953349169448,'stop.begun','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"run": "01a22729523110a1719b993bd356"}','c3168d97','cold');
INSERT INTO "events" VALUES(14,1795953349190250,'sprite.cold','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"why": "asked for"}','c3168d97','cold');
INSERT INTO "events" VALUES(15,1795953349190609,'stop.decided','sprite/sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"run": "01a22729523110a1719b993bd356", "ending": "done", "error": null}','c3168d97','cold');
INSERT INTO "events" VALUES(16,1795953349361344,'hold.put','sprite/sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"hold": "build", "expires_us": null}','c3168d97','web');
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-34bf4249-15fd-435c-b950-1059a65c1878','build',1795953349361187,NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('62b20480d31ca7','container',131072,1795953348394801,536870912,2);
INSERT INTO "machines" VALUES('b74ec039b4e78b','container',196608,1795953348596618,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('c3168d97','local',1795953348146799);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227294dc8c16f5cb0bf5d1442','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953348040443,1795953348146299,1,NULL);
INSERT INTO "runs" VALUES('01a227294f0e0960db7ece3ec4b0','sprite','create','sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"organisation": "c3168d97", "name": "web", "suffix": "7850", "machine": "62b20480d31ca7", "volume": "sprite-b26c76ae-c51d-4b4c-86da-1c2d6265cd41", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953348366708,1795953348452896,2,NULL);
INSERT INTO "runs" VALUES('01a227294fe59e25b243bb621c4e','sprite','create','sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"organisation": "c3168d97", "name": "cold", "suffix": "cab0", "machine": "b74ec039b4e78b", "volume": "sprite-9155cf81-46e2-404d-854c-f0073f1974b6", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953348581239,1795953348673012,2,NULL);
INSERT INTO "runs" VALUES('01a22729513c0614d8d38b7ad40f','sprite','checkpoint','sprite-34bf4249-15fd-435c-b950-1059a65c1878','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953348924851,1795953348948462,1,NULL);
INSERT INTO "runs" VALUES('01a22729523110a1719b993bd356','sprite','stop','sprite-ff429730-968e-48df-a321-59ee5ae83ec4','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953349169416,1795953349199451,1,NULL);
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
INSERT INTO "sprites" VALUES('sprite-34bf4249-15fd-435c-b950-1059a65c1878','c3168d97','web','7850','62b20480d31ca7','sprite-b26c76ae-c51d-4b4c-86da-1c2d6265cd41','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953348378978,1795953348936746,1795953348429278,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-ff429730-968e-48df-a321-59ee5ae83ec4','c3168d97','cold','cab0','b74ec039b4e78b','sprite-9155cf81-46e2-404d-854c-f0073f1974b6','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953348592428,1795953349190132,1795953348654055,NULL,'{}','{"status":"cold","at_us":1795953349190046,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('3fbc6dcb1f88','c3168d97','0a8bf569e67aac550f7b82f37f3062c81f0d18c269cc5ca385ed6a90d5d69911','test',1795953348147584,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227294dc8c16f5cb0bf5d1442','archive',1,1,NULL,'{"path": "/tmp/tmpsf_wa03e/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953348090909,1);
INSERT INTO "transitions" VALUES('01a227294dc8c16f5cb0bf5d1442','fill',1,1,NULL,'null',1795953348114490,1);
INSERT INTO "transitions" VALUES('01a227294dc8c16f5cb0bf5d1442','seal',1,1,NULL,'null',1795953348114741,1);
INSERT INTO "transitions" VALUES('01a227294dc8c16f5cb0bf5d1442','publish',1,1,NULL,'null',1795953348124835,1);
INSERT INTO "transitions" VALUES('01a227294dc8c16f5cb0bf5d1442','retire',1,1,NULL,'null',1795953348125022,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','record',1,1,NULL,'null',1795953348392733,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','disk',1,1,NULL,'null',1795953348394030,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','machine',1,1,NULL,'null',1795953348398935,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953348405787,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','world',1,1,NULL,'{"was": "none"}',1795953348429006,1);
INSERT INTO "transitions" VALUES('01a227294f0e0960db7ece3ec4b0','publish',1,1,NULL,'null',1795953348436861,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','record',1,1,NULL,'null',1795953348594975,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','disk',1,1,NULL,'null',1795953348596100,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','machine',1,1,NULL,'null',1795953348609077,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953348618145,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','world',1,1,NULL,'{"was": "none"}',1795953348653841,1);
INSERT INTO "transitions" VALUES('01a227294fe59e25b243bb621c4e','publish',1,1,NULL,'null',1795953348664887,1);
INSERT INTO "transitions" VALUES('01a22729513c0614d8d38b7ad40f','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953348935377,1);
INSERT INTO "transitions" VALUES('01a22729513c0614d8d38b7ad40f','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953348936319}',1795953348936351,1);
INSERT INTO "transitions" VALUES('01a22729513c0614d8d38b7ad40f','publish',1,1,NULL,'null',1795953348945008,1);
INSERT INTO "transitions" VALUES('01a22729523110a1719b993bd356','down',1,1,NULL,'null',1795953349180277,1);
INSERT INTO "transitions" VALUES('01a22729523110a1719b993bd356','detach',1,1,NULL,'null',1795953349189800,1);
INSERT INTO "transitions" VALUES('01a22729523110a1719b993bd356','publish',1,1,NULL,'null',1795953349190367,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',16);
COMMIT;
