BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953117777399);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-0f70c62b-3563-469b-a520-ff96413154e7','v1',1,NULL,'kept',0,1,1.5,1795953118298630);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL);
INSERT INTO "events" VALUES(1,1795953117766552,'prepare.begun','base/minimal','{"run": "01a22725ca4666937f7f7795e5f4"}');
INSERT INTO "events" VALUES(2,1795953117779654,'prepare.decided','base/minimal','{"run": "01a22725ca4666937f7f7795e5f4", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(3,1795953117782778,'token.issued','token/524f62bd1644','{"organisation": "local", "description": "test"}');
INSERT INTO "events" VALUES(4,1795953117911787,'create.begun','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"run": "01a22725cad7e88a5e1fc1736885"}');
INSERT INTO "events" VALUES(5,1795953117915440,'sprite.recorded','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"name": "web"}');
INSERT INTO "events" VALUES(6,1795953117948518,'create.decided','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"run": "01a22725cad7e88a5e1fc1736885", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(7,1795953118038687,'create.begun','sprite/sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"run": "01a22725cb56fb2bed8ae2cb4e16"}');
INSERT INTO "events" VALUES(8,1795953118043841,'sprite.recorded','sprite/sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"name": "cold"}');
INSERT INTO "events" VALUES(9,1795953118101994,'create.decided','sprite/sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"run": "01a22725cb56fb2bed8ae2cb4e16", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(10,1795953118244920,'checkpoint.begun','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"run": "01a22725cc24d34b290550019107"}');
INSERT INTO "events" VALUES(11,1795953118299050,'checkpoint.published','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"checkpoint": "v1"}');
INSERT INTO "events" VALUES(12,1795953118315736,'checkpoint.decided','sprite/sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"run": "01a22725cc24d34b290550019107", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(13,1795953118639110,'stop.begun','sprite/sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"run": "01a22725cdae9e7c4235363f042c"}');
INSERT INTO "events" VALUES(14,1795953118695226,'stop.decided','sprite/sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"run": "01a22725cdae9e7c4235363f042c", "ending": "done", "error": null}');
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('37d58e292eff17','container',131072,1795953117919105,536870912,2);
INSERT INTO "machines" VALUES('1032a91dc0e7c8','container',196608,1795953118052193,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('62ccd77a','local',1795953117782005);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1);
INSERT INTO "runs" VALUES('01a22725ca4666937f7f7795e5f4','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953117766475,1795953117780401,1);
INSERT INTO "runs" VALUES('01a22725cad7e88a5e1fc1736885','sprite','create','sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"organisation": "62ccd77a", "name": "web", "suffix": "7944", "machine": "37d58e292eff17", "volume": "sprite-ed54212a-adc0-4aa2-9449-d8b2076f433f", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite"}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953117911753,1795953117949871,2);
INSERT INTO "runs" VALUES('01a22725cb56fb2bed8ae2cb4e16','sprite','create','sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{"organisation": "62ccd77a", "name": "cold", "suffix": "87e0", "machine": "1032a91dc0e7c8", "volume": "sprite-38581edb-f2cb-461c-8a49-da1a7c2099c7", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite"}, "environment": {}, "config": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953118038659,1795953118104860,2);
INSERT INTO "runs" VALUES('01a22725cc24d34b290550019107','sprite','checkpoint','sprite-0f70c62b-3563-469b-a520-ff96413154e7','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953118244884,1795953118325519,1);
INSERT INTO "runs" VALUES('01a22725cdae9e7c4235363f042c','sprite','stop','sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','{}','["down", "detach"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953118639076,1795953118696074,1);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT,
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-0f70c62b-3563-469b-a520-ff96413154e7','62ccd77a','web','7944','37d58e292eff17','sprite-ed54212a-adc0-4aa2-9449-d8b2076f433f','live','["a"]','{"auth": "sprite"}','{"A": "1"}','{"ram_mb": 512}',2,'v1',1795953117915282,1795953118299081,1795953117946309,NULL);
INSERT INTO "sprites" VALUES('sprite-3fad2863-2b8f-4990-9c6f-40687f54563c','62ccd77a','cold','87e0','1032a91dc0e7c8','sprite-38581edb-f2cb-461c-8a49-da1a7c2099c7','live','[]','{"auth": "sprite"}','{}','{}',1,NULL,1795953118043671,1795953118088616,1795953118088609,NULL);
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('524f62bd1644','62ccd77a','37199358b097853a0ddfb830db54ea41bf5a1fe07766b29b61e46d52fe3d9a5c','test',1795953117782705,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a22725ca4666937f7f7795e5f4','archive',1,1,NULL,'{"path": "/tmp/tmprxu_g5x5/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953117773464,1);
INSERT INTO "transitions" VALUES('01a22725ca4666937f7f7795e5f4','fill',1,1,NULL,'null',1795953117777013,1);
INSERT INTO "transitions" VALUES('01a22725ca4666937f7f7795e5f4','seal',1,1,NULL,'null',1795953117777281,1);
INSERT INTO "transitions" VALUES('01a22725ca4666937f7f7795e5f4','publish',1,1,NULL,'null',1795953117779301,1);
INSERT INTO "transitions" VALUES('01a22725ca4666937f7f7795e5f4','retire',1,1,NULL,'null',1795953117779437,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','record',1,1,NULL,'null',1795953117917341,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','disk',1,1,NULL,'null',1795953117918472,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','machine',1,1,NULL,'null',1795953117928535,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953117932635,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','world',1,1,NULL,'{"was": "none"}',1795953117946098,1);
INSERT INTO "transitions" VALUES('01a22725cad7e88a5e1fc1736885','publish',1,1,NULL,'null',1795953117948229,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','record',1,1,NULL,'null',1795953118050446,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','disk',1,1,NULL,'null',1795953118051793,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','machine',1,1,NULL,'null',1795953118073814,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953118076628,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','world',1,1,NULL,'{"was": "none"}',1795953118088387,1);
INSERT INTO "transitions" VALUES('01a22725cb56fb2bed8ae2cb4e16','publish',1,1,NULL,'null',1795953118101698,1);
INSERT INTO "transitions" VALUES('01a22725cc24d34b290550019107','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953118297607,1);
INSERT INTO "transitions" VALUES('01a22725cc24d34b290550019107','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953118298630}',1795953118298667,1);
INSERT INTO "transitions" VALUES('01a22725cc24d34b290550019107','publish',1,1,NULL,'null',1795953118315426,1);
INSERT INTO "transitions" VALUES('01a22725cdae9e7c4235363f042c','down',1,1,NULL,'null',1795953118694238,1);
INSERT INTO "transitions" VALUES('01a22725cdae9e7c4235363f042c','detach',1,1,NULL,'null',1795953118695022,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',14);
COMMIT;
