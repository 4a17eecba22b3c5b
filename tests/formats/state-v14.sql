BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('14f51bf5a16b34bd','16fd742e','shop','default',1795954006395031,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795954006038537);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','v1',1,NULL,'kept',0,1,1.5,1795954006348015);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795954006017890,'prepare.begun','base/minimal','{"run": "01a227335801aa89a995dba8cc00"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795954006045381,'prepare.decided','base/minimal','{"run": "01a227335801aa89a995dba8cc00", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795954006073980,'token.issued','token/7afddb4cc6ab','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795954006264763,'create.begun','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"run": "01a2273358f859d5efa7df448517"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795954006270118,'sprite.recorded','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"name": "web"}','16fd742e','web');
INSERT INTO "events" VALUES(6,1795954006301004,'create.decided','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"run": "01a2273358f859d5efa7df448517", "ending": "done", "error": null}','16fd742e','web');
INSERT INTO "events" VALUES(7,1795954006314773,'create.begun','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"run": "01a22733592a5127581a0df06220"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795954006317250,'sprite.recorded','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"name": "cold"}','16fd742e','cold');
INSERT INTO "events" VALUES(9,1795954006332919,'create.decided','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"run": "01a22733592a5127581a0df06220", "ending": "done", "error": null}','16fd742e','cold');
INSERT INTO "events" VALUES(10,1795954006342562,'checkpoint.begun','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"run": "01a227335946f794198a76188881"}','16fd742e','web');
INSERT INTO "events" VALUES(11,1795954006348381,'checkpoint.published','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"checkpoint": "v1"}','16fd742e','web');
INSERT INTO "events" VALUES(12,1795954006349546,'checkpoint.decided','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"run": "01a227335946f794198a76188881", "ending": "done", "error": null}','16fd742e','web');
INSERT INTO "events" VALUES(13,1795954006357429,'stop.begun','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"run": "01a227335955bdfaffda21ce9623"}','16fd742e','cold');
INSERT INTO "events" VALUES(14,1795954006367344,'sprite.cold','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"why": "asked for"}','16fd742e','cold');
INSERT INTO "events" VALUES(15,1795954006367606,'stop.decided','sprite/sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"run": "01a227335955bdfaffda21ce9623", "ending": "done", "error": null}','16fd742e','cold');
INSERT INTO "events" VALUES(16,1795954006374008,'hold.put','sprite/sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"hold": "build", "expires_us": null}','16fd742e','web');
INSERT INTO "events" VALUES(17,1795954006382469,'token.issued','token/b88be1005f78','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795954006420970,'create.begun','volume/vol_ae61c343ad72834d','{"run": "01a2273359947f6dba4770d7f75d"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795954006428308,'volume.recorded','volume/vol_ae61c343ad72834d','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795954006437002,'create.decided','volume/vol_ae61c343ad72834d','{"run": "01a2273359947f6dba4770d7f75d", "ending": "done", "error": null}',NULL,NULL);
CREATE TABLE fly_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL REFERENCES fly_machines (id), type TEXT NOT NULL,
        status TEXT NOT NULL, source TEXT NOT NULL, at_us BIGINT NOT NULL, request TEXT NOT NULL);
CREATE TABLE fly_machines (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, metadata TEXT NOT NULL, images TEXT NOT NULL,
        cordoned INTEGER NOT NULL, lease TEXT, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL);
CREATE TABLE fly_secrets (
        app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, sealed TEXT NOT NULL, digest TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (app, name));
INSERT INTO "fly_secrets" VALUES('14f51bf5a16b34bd','key','crWPTOOfHJzhY3Fn4y-CIPdFxR0RvpjJYTFdOf-e8RkzLg==','0a6b3d637ee598f4',1795954006445633,1795954006445633);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_ae61c343ad72834d','14f51bf5a16b34bd','data','local','created',1,NULL,5,1795954006420813);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','build',1795954006373812,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('4b043bda6d6c98','container',131072,1795954006276896,536870912,2,4096);
INSERT INTO "machines" VALUES('9708186cd024bd','container',196608,1795954006320295,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('16fd742e','local',1795954006061477);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227335801aa89a995dba8cc00','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006017825,1795954006060912,1,NULL);
INSERT INTO "runs" VALUES('01a2273358f859d5efa7df448517','sprite','create','sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"organisation": "16fd742e", "name": "web", "suffix": "ca1d", "machine": "4b043bda6d6c98", "volume": "sprite-beada06a-7733-4c49-8850-4b185b85ebb2", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006264733,1795954006302988,2,NULL);
INSERT INTO "runs" VALUES('01a22733592a5127581a0df06220','sprite','create','sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"organisation": "16fd742e", "name": "cold", "suffix": "56d1", "machine": "9708186cd024bd", "volume": "sprite-b460a4c5-6a39-4e42-b086-3876cece439e", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006314742,1795954006338089,2,NULL);
INSERT INTO "runs" VALUES('01a227335946f794198a76188881','sprite','checkpoint','sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006342534,1795954006350073,1,NULL);
INSERT INTO "runs" VALUES('01a227335955bdfaffda21ce9623','sprite','stop','sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006357401,1795954006368273,1,NULL);
INSERT INTO "runs" VALUES('01a2273359947f6dba4770d7f75d','volume','create','vol_ae61c343ad72834d','{"app": "14f51bf5a16b34bd", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795954006420813, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954006420939,1795954006442376,1,NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
INSERT INTO "schema_version" VALUES(6);
INSERT INTO "schema_version" VALUES(7);
INSERT INTO "schema_version" VALUES(8);
INSERT INTO "schema_version" VALUES(9);
INSERT INTO "schema_version" VALUES(10);
INSERT INTO "schema_version" VALUES(11);
INSERT INTO "schema_version" VALUES(12);
INSERT INTO "schema_version" VALUES(13);
INSERT INTO "schema_version" VALUES(14);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-03ec40e5-5766-4f75-817a-c6482be41bfe','16fd742e','web','ca1d','4b043bda6d6c98','sprite-beada06a-7733-4c49-8850-4b185b85ebb2','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795954006269977,1795954006348409,1795954006296091,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-dc60dd06-1c3c-4c8e-b7c6-b95923d8674d','16fd742e','cold','56d1','9708186cd024bd','sprite-b460a4c5-6a39-4e42-b086-3876cece439e','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795954006317177,1795954006367269,1795954006330183,NULL,'{}','{"status":"cold","at_us":1795954006367246,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('7afddb4cc6ab','16fd742e','1a8aa22ef04340913c93a911628f9a5a0afbec357c48b84601548c312e319b0e','test',1795954006073864,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('b88be1005f78','16fd742e','d1640dbd1baa899ce0685301316fa9240c7d4a2708c337008f5c2fc4354a6410','',1795954006382422,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227335801aa89a995dba8cc00','archive',1,1,NULL,'{"path": "/tmp/tmpbazqxcc6/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795954006034721,1);
INSERT INTO "transitions" VALUES('01a227335801aa89a995dba8cc00','fill',1,1,NULL,'null',1795954006038260,1);
INSERT INTO "transitions" VALUES('01a227335801aa89a995dba8cc00','seal',1,1,NULL,'null',1795954006038439,1);
INSERT INTO "transitions" VALUES('01a227335801aa89a995dba8cc00','publish',1,1,NULL,'null',1795954006044853,1);
INSERT INTO "transitions" VALUES('01a227335801aa89a995dba8cc00','retire',1,1,NULL,'null',1795954006045023,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','record',1,1,NULL,'null',1795954006271295,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','disk',1,1,NULL,'null',1795954006272209,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','machine',1,1,NULL,'null',1795954006281130,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954006282908,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','world',1,1,NULL,'{"was": "none"}',1795954006295851,1);
INSERT INTO "transitions" VALUES('01a2273358f859d5efa7df448517','publish',1,1,NULL,'null',1795954006300775,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','record',1,1,NULL,'null',1795954006319205,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','disk',1,1,NULL,'null',1795954006320040,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','machine',1,1,NULL,'null',1795954006320956,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954006325575,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','world',1,1,NULL,'{"was": "none"}',1795954006330060,1);
INSERT INTO "transitions" VALUES('01a22733592a5127581a0df06220','publish',1,1,NULL,'null',1795954006332563,1);
INSERT INTO "transitions" VALUES('01a227335946f794198a76188881','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795954006347087,1);
INSERT INTO "transitions" VALUES('01a227335946f794198a76188881','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795954006348015}',1795954006348040,1);
INSERT INTO "transitions" VALUES('01a227335946f794198a76188881','publish',1,1,NULL,'null',1795954006349368,1);
INSERT INTO "transitions" VALUES('01a227335955bdfaffda21ce9623','down',1,1,NULL,'null',1795954006366931,1);
INSERT INTO "transitions" VALUES('01a227335955bdfaffda21ce9623','detach',1,1,NULL,'null',1795954006367182,1);
INSERT INTO "transitions" VALUES('01a227335955bdfaffda21ce9623','publish',1,1,NULL,'null',1795954006367412,1);
INSERT INTO "transitions" VALUES('01a2273359947f6dba4770d7f75d','record',1,1,NULL,'null',1795954006431045,1);
INSERT INTO "transitions" VALUES('01a2273359947f6dba4770d7f75d','disk',1,1,NULL,'null',1795954006431436,1);
INSERT INTO "transitions" VALUES('01a2273359947f6dba4770d7f75d','ready',1,1,NULL,'null',1795954006436771,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',20);
COMMIT;
