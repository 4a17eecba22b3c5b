BEGIN TRANSACTION;
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "apps" VALUES('a2774e7940e591cf','972a97c0','shop','default',1795953130623472);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953129001253);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-e9425ac8-75de-4871-9273-b4d06234316f','v1',1,NULL,'kept',0,1,1.5,1795953130037595);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953128991636,'prepare.begun','base/minimal','{"run": "01a22725f61f091b46841dffefad"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953129006552,'prepare.decided','base/minimal','{"run": "01a22725f61f091b46841dffefad", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953129032419,'token.issued','token/51aafe14364c','{"organisation": "local", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953129238513,'create.begun','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"run": "01a22725f71686d29449d5d8db24"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953129241809,'sprite.recorded','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"name": "web"}','972a97c0','web');
INSERT INTO "events" VALUES(6,1795953129345210,'create.decided','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"run": "01a22725f71686d29449d5d8db24", "ending": "done", "error": null}','972a97c0','web');
INSERT INTO "events" VALUES(7,1795953129439695,'create.begun','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"run": "01a22725f7dfc88f877b6d968645"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953129600231,'sprite.recorded','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"name": "cold"}','972a97c0','cold');
INSERT INTO "events" VALUES(9,1795953129665592,'create.decided','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"run": "01a22725f7dfc88f877b6d968645", "ending": "done", "error": null}','972a97c0','cold');
INSERT INTO "events" VALUES(10,1795953130001300,'checkpoint.begun','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"run": "01a22725fa114c906d0fed687450"}','972a97c0','web');
INSERT INTO "events" VALUES(11,1795953130038405,'checkpoint.published','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"checkpoint": "v1"}','972a97c0','web');
INSERT INTO "events" VALUES(12,1795953130046225,'checkpoint.decided','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"run": "01a22725fa114c906d0fed687450", "ending": "done", "error": null}','972a97c0','web');
INSERT INTO "events" VALUES(13,1795953130141616,'stop.begun','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"run": "01a22725fa9df0a6205f5ef462d0"}','972a97c0','cold');
INSERT INTO "events" VALUES(14,1795953130151162,'sprite.cold','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"why": "asked for"}','972a97c0','cold');
INSERT INTO "events" VALUES(15,1795953130151444,'stop.decided','sprite/sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"run": "01a22725fa9df0a6205f5ef462d0", "ending": "done", "error": null}','972a97c0','cold');
INSERT INTO "events" VALUES(16,1795953130255967,'hold.put','sprite/sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"hold": "build", "expires_us": null}','972a97c0','web');
INSERT INTO "events" VALUES(17,1795953130488480,'token.issued','token/acd78bc0edd8','{"organisation": "local", "description": ""}',NULL,NULL);
CREATE TABLE fly_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL REFERENCES fly_machines (id), type TEXT NOT NULL,
        status TEXT NOT NULL, source TEXT NOT NULL, at_us BIGINT NOT NULL, request TEXT NOT NULL);
CREATE TABLE fly_machines (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, metadata TEXT NOT NULL, images TEXT NOT NULL,
        cordoned INTEGER NOT NULL, lease TEXT, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-e9425ac8-75de-4871-9273-b4d06234316f','build',1795953130255705,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('fd24d0dbcd3683','container',131072,1795953129245048,536870912,2);
INSERT INTO "machines" VALUES('808c58283a8529','container',196608,1795953129602611,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('972a97c0','local',1795953129012962);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a22725f61f091b46841dffefad','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953128991577,1795953129009010,1,NULL);
INSERT INTO "runs" VALUES('01a22725f71686d29449d5d8db24','sprite','create','sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"organisation": "972a97c0", "name": "web", "suffix": "1a96", "machine": "fd24d0dbcd3683", "volume": "sprite-f6674a1b-0747-43c2-a5b6-e59f796186cf", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953129238476,1795953129348945,2,NULL);
INSERT INTO "runs" VALUES('01a22725f7dfc88f877b6d968645','sprite','create','sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"organisation": "972a97c0", "name": "cold", "suffix": "1ed0", "machine": "808c58283a8529", "volume": "sprite-30b9a993-d37d-4d87-9e95-ca85f960f468", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953129439666,1795953129810677,2,NULL);
INSERT INTO "runs" VALUES('01a22725fa114c906d0fed687450','sprite','checkpoint','sprite-e9425ac8-75de-4871-9273-b4d06234316f','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953130001268,1795953130048859,1,NULL);
INSERT INTO "runs" VALUES('01a22725fa9df0a6205f5ef462d0','sprite','stop','sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953130141575,1795953130152254,1,NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
INSERT INTO "schema_version" VALUES(6);
INSERT INTO "schema_version" VALUES(7);
INSERT INTO "schema_version" VALUES(8);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-e9425ac8-75de-4871-9273-b4d06234316f','972a97c0','web','1a96','fd24d0dbcd3683','sprite-f6674a1b-0747-43c2-a5b6-e59f796186cf','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953129241678,1795953130038477,1795953129281325,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-7c610347-d3e3-466d-9bfd-2c163b26c5fc','972a97c0','cold','1ed0','808c58283a8529','sprite-30b9a993-d37d-4d87-9e95-ca85f960f468','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953129600126,1795953130151069,1795953129644770,NULL,'{}','{"status":"cold","at_us":1795953130151042,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('51aafe14364c','972a97c0','68a85b282bda0540362149b1cd6390f88aaeec9b6479f1cf45cd39fd7a6ca7a4','test',1795953129032317,NULL);
INSERT INTO "tokens" VALUES('acd78bc0edd8','972a97c0','820dd8577da92b1d682e98c02ca45598b11e31be30f2be12f4e116d8b48fa069','',1795953130488438,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a22725f61f091b46841dffefad','archive',1,1,NULL,'{"path": "/tmp/tmppf4_09l7/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953128996050,1);
INSERT INTO "transitions" VALUES('01a22725f61f091b46841dffefad','fill',1,1,NULL,'null',1795953129000895,1);
INSERT INTO "transitions" VALUES('01a22725f61f091b46841dffefad','seal',1,1,NULL,'null',1795953129001145,1);
INSERT INTO "transitions" VALUES('01a22725f61f091b46841dffefad','publish',1,1,NULL,'null',1795953129005938,1);
INSERT INTO "transitions" VALUES('01a22725f61f091b46841dffefad','retire',1,1,NULL,'null',1795953129006198,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','record',1,1,NULL,'null',1795953129243408,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','disk',1,1,NULL,'null',1795953129244423,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','machine',1,1,NULL,'null',1795953129246307,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953129252815,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','world',1,1,NULL,'{"was": "none"}',1795953129281127,1);
INSERT INTO "transitions" VALUES('01a22725f71686d29449d5d8db24','publish',1,1,NULL,'null',1795953129344838,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','record',1,1,NULL,'null',1795953129601277,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','disk',1,1,NULL,'null',1795953129602292,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','machine',1,1,NULL,'null',1795953129607030,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953129624821,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','world',1,1,NULL,'{"was": "none"}',1795953129644470,1);
INSERT INTO "transitions" VALUES('01a22725f7dfc88f877b6d968645','publish',1,1,NULL,'null',1795953129664860,1);
INSERT INTO "transitions" VALUES('01a22725fa114c906d0fed687450','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953130031617,1);
INSERT INTO "transitions" VALUES('01a22725fa114c906d0fed687450','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953130037595}',1795953130037667,1);
INSERT INTO "transitions" VALUES('01a22725fa114c906d0fed687450','publish',1,1,NULL,'null',1795953130045920,1);
INSERT INTO "transitions" VALUES('01a22725fa9df0a6205f5ef462d0','down',1,1,NULL,'null',1795953130150682,1);
INSERT INTO "transitions" VALUES('01a22725fa9df0a6205f5ef462d0','detach',1,1,NULL,'null',1795953130150966,1);
INSERT INTO "transitions" VALUES('01a22725fa9df0a6205f5ef462d0','publish',1,1,NULL,'null',1795953130151249,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',17);
COMMIT;
