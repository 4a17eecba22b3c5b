BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795922112329866);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795922112287968,'prepare.begun','base/minimal','{"run": "01a2254caf1f0a521f73c7297b1a"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795922112333215,'prepare.decided','base/minimal','{"run": "01a2254caf1f0a521f73c7297b1a", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795922112336344,'token.issued','token/16acea5d9b30','{"organisation": "local", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795922112349654,'create.begun','sprite/sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"run": "01a2254caf5d8706ab3dc317b27f"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795922112354124,'sprite.recorded','sprite/sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"name": "growing"}','a0204550','growing');
INSERT INTO "events" VALUES(6,1795922112438818,'create.decided','sprite/sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"run": "01a2254caf5d8706ab3dc317b27f", "ending": "done", "error": null}','a0204550','growing');
INSERT INTO "events" VALUES(7,1795922112440404,'resize.begun','sprite/sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"run": "01a2254cafb84a58e849eff1c8e1"}','a0204550','growing');
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('12c347627bf5d3','container',131072,1795922112368120,2147483648,1);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('a0204550','local',1795922112334406);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2254caf1f0a521f73c7297b1a','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795922112287902,1795922112334045,1,NULL);
INSERT INTO "runs" VALUES('01a2254caf5d8706ab3dc317b27f','sprite','create','sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"organisation": "a0204550", "name": "growing", "suffix": "9067", "machine": "12c347627bf5d3", "volume": "sprite-05ae6263-66af-4f0a-b56e-be364e393fa1", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {"cpus": 1}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795922112349617,1795922112439634,2,NULL);
INSERT INTO "runs" VALUES('01a2254cafb84a58e849eff1c8e1','sprite','resize','sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','{"config": {"ram_mb": 512, "cpus": 3}}','["fit", "publish"]',NULL,1795922112440364,NULL,1,NULL);
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
INSERT INTO "sprites" VALUES('sprite-aeafd1fe-5bd1-43b7-8c50-614aa9052d6e','a0204550','growing','9067','12c347627bf5d3','sprite-05ae6263-66af-4f0a-b56e-be364e393fa1','live','[]','{"auth":"sprite","private_access":null}','{}','{"cpus":1}',1,NULL,1795922112353984,1795922112427618,1795922112427616,NULL,'{}','null');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('16acea5d9b30','a0204550','4578c19050457aee2bc125b329f5e13ea5c158140d3414feea6d973f2d3b40d2','test',1795922112336294,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2254caf1f0a521f73c7297b1a','archive',1,1,NULL,'{"path": "/tmp/tmpklgzpg20/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795922112302988,1);
INSERT INTO "transitions" VALUES('01a2254caf1f0a521f73c7297b1a','fill',1,1,NULL,'null',1795922112329488,1);
INSERT INTO "transitions" VALUES('01a2254caf1f0a521f73c7297b1a','seal',1,1,NULL,'null',1795922112329757,1);
INSERT INTO "transitions" VALUES('01a2254caf1f0a521f73c7297b1a','publish',1,1,NULL,'null',1795922112332834,1);
INSERT INTO "transitions" VALUES('01a2254caf1f0a521f73c7297b1a','retire',1,1,NULL,'null',1795922112332982,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','record',1,1,NULL,'null',1795922112364945,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','disk',1,1,NULL,'null',1795922112367053,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','machine',1,1,NULL,'null',1795922112389684,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795922112391690,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','world',1,1,NULL,'{"was": "none"}',1795922112427402,1);
INSERT INTO "transitions" VALUES('01a2254caf5d8706ab3dc317b27f','publish',1,1,NULL,'null',1795922112438436,1);
INSERT INTO "transitions" VALUES('01a2254cafb84a58e849eff1c8e1','fit',1,1,NULL,'{"now": true}',1795922112473983,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',7);
COMMIT;
