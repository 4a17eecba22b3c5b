BEGIN TRANSACTION;
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('d0327fbdfca01296','137c18f8','shop','default',1795953151523389,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953150296001);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','v1',1,NULL,'kept',0,1,1.5,1795953150860369);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953150268495,'prepare.begun','base/minimal','{"run": "01a22726493cb89907bfc91e066f"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953150298280,'prepare.decided','base/minimal','{"run": "01a22726493cb89907bfc91e066f", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953150305084,'token.issued','token/1b8996dce52b','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953150533254,'create.begun','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"run": "01a227264a45ca3f7d17c7edac0b"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953150545427,'sprite.recorded','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"name": "web"}','137c18f8','web');
INSERT INTO "events" VALUES(6,1795953150595214,'create.decided','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"run": "01a227264a45ca3f7d17c7edac0b", "ending": "done", "error": null}','137c18f8','web');
INSERT INTO "events" VALUES(7,1795953150786305,'create.begun','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"run": "01a227264b422aff48641e7be980"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953150787845,'sprite.recorded','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"name": "cold"}','137c18f8','cold');
INSERT INTO "events" VALUES(9,1795953150813183,'create.decided','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"run": "01a227264b422aff48641e7be980", "ending": "done", "error": null}','137c18f8','cold');
INSERT INTO "events" VALUES(10,1795953150855282,'checkpoint.begun','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"run": "01a227264b87fe4ec280db60e28d"}','137c18f8','web');
INSERT INTO "events" VALUES(11,1795953150860853,'checkpoint.published','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"checkpoint": "v1"}','137c18f8','web');
INSERT INTO "events" VALUES(12,1795953150864219,'checkpoint.decided','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"run": "01a227264b87fe4ec280db60e28d", "ending": "done", "error": null}','137c18f8','web');
INSERT INTO "events" VALUES(13,1795953150956196,'stop.begun','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"run": "01a227264bec930bbc9884f31706"}','137c18f8','cold');
INSERT INTO "events" VALUES(14,1795953150965707,'sprite.cold','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"why": "asked for"}','137c18f8','cold');
INSERT INTO "events" VALUES(15,1795953150965929,'stop.decided','sprite/sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"run": "01a227264bec930bbc9884f31706", "ending": "done", "error": null}','137c18f8','cold');
INSERT INTO "events" VALUES(16,1795953151048255,'hold.put','sprite/sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"hold": "build", "expires_us": null}','137c18f8','web');
INSERT INTO "events" VALUES(17,1795953151224552,'token.issued','token/9481ba1bbcb8','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795953151616813,'create.begun','volume/vol_14fbc092a663d474','{"run": "01a227264e80af3fae0064796c8a"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795953151625436,'volume.recorded','volume/vol_14fbc092a663d474','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795953151648194,'create.decided','volume/vol_14fbc092a663d474','{"run": "01a227264e80af3fae0064796c8a", "ending": "done", "error": null}',NULL,NULL);
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
INSERT INTO "fly_secrets" VALUES('d0327fbdfca01296','key','rVN4PJHEd0t85wneYhEyDsbYi99bIuOS5IF8zNPOtQy5cA==','0208af8a65a42e7c',1795953151706142,1795953151706142);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_14fbc092a663d474','d0327fbdfca01296','data','local','created',1,NULL,5,1795953151616570);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','build',1795953151047946,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('e786a7cdb09738','container',131072,1795953150558821,536870912,2);
INSERT INTO "machines" VALUES('c4b63bcb706442','container',196608,1795953150796146,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('137c18f8','local',1795953150302726);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a22726493cb89907bfc91e066f','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953150268437,1795953150302331,1,NULL);
INSERT INTO "runs" VALUES('01a227264a45ca3f7d17c7edac0b','sprite','create','sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"organisation": "137c18f8", "name": "web", "suffix": "3b99", "machine": "e786a7cdb09738", "volume": "sprite-a0941b54-1855-4e94-840f-f7d23825d73c", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953150533200,1795953150596165,2,NULL);
INSERT INTO "runs" VALUES('01a227264b422aff48641e7be980','sprite','create','sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"organisation": "137c18f8", "name": "cold", "suffix": "0f30", "machine": "c4b63bcb706442", "volume": "sprite-26290324-d1ac-4a5c-9b90-665ba005fb5d", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953150786275,1795953150815502,2,NULL);
INSERT INTO "runs" VALUES('01a227264b87fe4ec280db60e28d','sprite','checkpoint','sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953150855251,1795953150864819,1,NULL);
INSERT INTO "runs" VALUES('01a227264bec930bbc9884f31706','sprite','stop','sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953150956169,1795953150968838,1,NULL);
INSERT INTO "runs" VALUES('01a227264e80af3fae0064796c8a','volume','create','vol_14fbc092a663d474','{"app": "d0327fbdfca01296", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795953151616570, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953151616766,1795953151648731,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-47fbd2e7-ac39-41ce-9272-c79233a005e8','137c18f8','web','3b99','e786a7cdb09738','sprite-a0941b54-1855-4e94-840f-f7d23825d73c','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953150545258,1795953150860881,1795953150594456,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-cd30b3b2-38c2-4bc8-a009-dc0ec9f3bf6e','137c18f8','cold','0f30','c4b63bcb706442','sprite-26290324-d1ac-4a5c-9b90-665ba005fb5d','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953150787761,1795953150965635,1795953150811722,NULL,'{}','{"status":"cold","at_us":1795953150965612,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('1b8996dce52b','137c18f8','4b486fcc5ae682cbc022bd63651b8a1306c984d028c5ea0e3f34628c053d950c','test',1795953150305008,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('9481ba1bbcb8','137c18f8','e2735f55eea1a86934a5ce73ab884d9e1d85215c6f88b025b1d920d8bf933cc2','',1795953151224507,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a22726493cb89907bfc91e066f','archive',1,1,NULL,'{"path": "/tmp/tmp_bg53_g6/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953150278882,1);
INSERT INTO "transitions" VALUES('01a22726493cb89907bfc91e066f','fill',1,1,NULL,'null',1795953150295660,1);
INSERT INTO "transitions" VALUES('01a22726493cb89907bfc91e066f','seal',1,1,NULL,'null',1795953150295900,1);
INSERT INTO "transitions" VALUES('01a22726493cb89907bfc91e066f','publish',1,1,NULL,'null',1795953150297931,1);
INSERT INTO "transitions" VALUES('01a22726493cb89907bfc91e066f','retire',1,1,NULL,'null',1795953150298054,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','record',1,1,NULL,'null',1795953150556438,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','disk',1,1,NULL,'null',1795953150557894,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','machine',1,1,NULL,'null',1795953150566416,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953150581188,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','world',1,1,NULL,'{"was": "none"}',1795953150594242,1);
INSERT INTO "transitions" VALUES('01a227264a45ca3f7d17c7edac0b','publish',1,1,NULL,'null',1795953150594978,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','record',1,1,NULL,'null',1795953150791669,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','disk',1,1,NULL,'null',1795953150792601,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','machine',1,1,NULL,'null',1795953150801711,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953150805489,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','world',1,1,NULL,'{"was": "none"}',1795953150811532,1);
INSERT INTO "transitions" VALUES('01a227264b422aff48641e7be980','publish',1,1,NULL,'null',1795953150812892,1);
INSERT INTO "transitions" VALUES('01a227264b87fe4ec280db60e28d','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953150859405,1);
INSERT INTO "transitions" VALUES('01a227264b87fe4ec280db60e28d','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953150860369}',1795953150860399,1);
INSERT INTO "transitions" VALUES('01a227264b87fe4ec280db60e28d','publish',1,1,NULL,'null',1795953150864011,1);
INSERT INTO "transitions" VALUES('01a227264bec930bbc9884f31706','down',1,1,NULL,'null',1795953150965246,1);
INSERT INTO "transitions" VALUES('01a227264bec930bbc9884f31706','detach',1,1,NULL,'null',1795953150965544,1);
INSERT INTO "transitions" VALUES('01a227264bec930bbc9884f31706','publish',1,1,NULL,'null',1795953150965776,1);
INSERT INTO "transitions" VALUES('01a227264e80af3fae0064796c8a','record',1,1,NULL,'null',1795953151629138,1);
INSERT INTO "transitions" VALUES('01a227264e80af3fae0064796c8a','disk',1,1,NULL,'null',1795953151629614,1);
INSERT INTO "transitions" VALUES('01a227264e80af3fae0064796c8a','ready',1,1,NULL,'null',1795953151647978,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',20);
COMMIT;
