BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('735b2a1c397fe480','8cfcdf30','shop','default',1795964660092965,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795964659527411);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','v1',1,NULL,'kept',0,1,1.5,1795964660056432,'ready');
CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host));
CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795964659501057,'prepare.begun','base/minimal','{"run": "01a227d5e72c6fd3b4ba42529014"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795964659553854,'prepare.decided','base/minimal','{"run": "01a227d5e72c6fd3b4ba42529014", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795964659562784,'token.issued','token/22d89434bf2e','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795964659809532,'create.begun','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"run": "01a227d5e86113b9b75e96ce0da4"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795964659820185,'sprite.recorded','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"name": "web"}','8cfcdf30','web');
INSERT INTO "events" VALUES(6,1795964659938553,'create.decided','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"run": "01a227d5e86113b9b75e96ce0da4", "ending": "done", "error": null}','8cfcdf30','web');
INSERT INTO "events" VALUES(7,1795964659982425,'create.begun','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"run": "01a227d5e90e0856ec585d66b95e"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795964659989156,'sprite.recorded','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"name": "cold"}','8cfcdf30','cold');
INSERT INTO "events" VALUES(9,1795964660046499,'create.decided','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"run": "01a227d5e90e0856ec585d66b95e", "ending": "done", "error": null}','8cfcdf30','cold');
INSERT INTO "events" VALUES(10,1795964660052163,'checkpoint.begun','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"run": "01a227d5e9539c2d4d18ad796e1a"}','8cfcdf30','web');
INSERT INTO "events" VALUES(11,1795964660057055,'checkpoint.published','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"checkpoint": "v1"}','8cfcdf30','web');
INSERT INTO "events" VALUES(12,1795964660058133,'checkpoint.decided','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"run": "01a227d5e9539c2d4d18ad796e1a", "ending": "done", "error": null}','8cfcdf30','web');
INSERT INTO "events" VALUES(13,1795964660076532,'stop.begun','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"run": "01a227d5e96c906da554b86f3564"}','8cfcdf30','cold');
INSERT INTO "events" VALUES(14,1795964660081551,'sprite.cold','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"why": "asked for"}','8cfcdf30','cold');
INSERT INTO "events" VALUES(15,1795964660081923,'stop.decided','sprite/sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"run": "01a227d5e96c906da554b86f3564", "ending": "done", "error": null}','8cfcdf30','cold');
INSERT INTO "events" VALUES(16,1795964660086639,'hold.put','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"hold": "build", "expires_us": null}','8cfcdf30','web');
INSERT INTO "events" VALUES(17,1795964660090351,'token.issued','token/55afbddf7af2','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795964660096637,'create.begun','volume/vol_414a6e4dc0708636','{"run": "01a227d5e98074c9c6752116d3c0"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795964660105337,'volume.recorded','volume/vol_414a6e4dc0708636','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795964660121321,'create.decided','volume/vol_414a6e4dc0708636','{"run": "01a227d5e98074c9c6752116d3c0", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795964660132986,'webhook.created','webhook/15e90b36ecf69335','{}','8cfcdf30',NULL);
INSERT INTO "events" VALUES(22,1795964660135871,'checkpoint.renamed','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"checkpoint": "v1", "name": "ready"}','8cfcdf30','web');
INSERT INTO "events" VALUES(23,1795964660138358,'fork_many.begun','sprite/sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"run": "01a227d5e9aabd2a9c828036baec"}','8cfcdf30','web');
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
INSERT INTO "fly_secrets" VALUES('735b2a1c397fe480','key','hwDPW2newJEHqIfnB0Dp3qPG8C3mumSUsTmYnppqbarnZQ==','c18e7720604bcec0',1795964660129218,1795964660129218);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_414a6e4dc0708636','735b2a1c397fe480','data','local','created',1,NULL,5,1795964660096512);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','build',1795964660086392,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('d8ad9b136c4aa6','container',131072,1795964659844313,536870912,2,4096);
INSERT INTO "machines" VALUES('14b7c060d18be9','container',196608,1795964660018060,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT, authority TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('8cfcdf30','local',1795964659561070);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227d5e72c6fd3b4ba42529014','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964659500944,1795964659558249,1,NULL);
INSERT INTO "runs" VALUES('01a227d5e86113b9b75e96ce0da4','sprite','create','sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"organisation": "8cfcdf30", "name": "web", "suffix": "9a3c", "machine": "d8ad9b136c4aa6", "volume": "sprite-67eb9524-5f8e-4e73-9e19-817e6e9c7a1d", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964659809476,1795964659973166,2,NULL);
INSERT INTO "runs" VALUES('01a227d5e90e0856ec585d66b95e','sprite','create','sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"organisation": "8cfcdf30", "name": "cold", "suffix": "145c", "machine": "14b7c060d18be9", "volume": "sprite-a638d0c5-6ba3-4fcc-b0b8-6a6edb614fc9", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964659982368,1795964660047143,2,NULL);
INSERT INTO "runs" VALUES('01a227d5e9539c2d4d18ad796e1a','sprite','checkpoint','sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964660052122,1795964660058655,1,NULL);
INSERT INTO "runs" VALUES('01a227d5e96c906da554b86f3564','sprite','stop','sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964660076483,1795964660082633,1,NULL);
INSERT INTO "runs" VALUES('01a227d5e98074c9c6752116d3c0','volume','create','vol_414a6e4dc0708636','{"app": "735b2a1c397fe480", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795964660096512, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795964660096611,1795964660125391,1,NULL);
INSERT INTO "runs" VALUES('01a227d5e9aabd2a9c828036baec','sprite','fork_many','sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','{"checkpoint": "v1", "forks": [{"sprite": "sprite-ccf97610-d529-4986-b2bb-e95558ff2a6c", "create": {"organisation": "8cfcdf30", "name": "copy-a", "suffix": "f139", "machine": "b43d886525f7c0", "volume": "sprite-b2d1cb0f-c481-4eac-8874-b15c715f82a9", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89", "checkpoint": "v1"}, "claimed": null}}, {"sprite": "sprite-23a444fc-cc4a-4bf3-a7fc-ec00b2215332", "create": {"organisation": "8cfcdf30", "name": "copy-b", "suffix": "a691", "machine": "563ae261fcd759", "volume": "sprite-d6430177-aa09-4547-aad5-6b5b4fac21a2", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89", "checkpoint": "v1"}, "claimed": null}}]}','["save", "create", "prune"]',NULL,1795964660138320,NULL,1,NULL);
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
INSERT INTO "schema_version" VALUES(15);
INSERT INTO "schema_version" VALUES(16);
INSERT INTO "schema_version" VALUES(17);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-1c5ec38c-0510-4cc1-9095-faf8c3a53e89','8cfcdf30','web','9a3c','d8ad9b136c4aa6','sprite-67eb9524-5f8e-4e73-9e19-817e6e9c7a1d','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795964659819941,1795964660057104,1795964659913577,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-99ed7a62-b534-44c7-be04-f29e2c91cc48','8cfcdf30','cold','145c','14b7c060d18be9','sprite-a638d0c5-6ba3-4fcc-b0b8-6a6edb614fc9','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795964659989004,1795964660081439,1795964660045491,NULL,'{}','{"status":"cold","at_us":1795964660081407,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('22d89434bf2e','8cfcdf30','a80fe00ad1dcf18edba57b2f8b1d32ed6b70c90909a2908e5ac4a31a80a8d7c2','test',1795964659562636,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('55afbddf7af2','8cfcdf30','d7964cb8db0c8cf9bef243fc913c9695376f6aa54974173f30e9b90c61ee7535','',1795964660090293,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227d5e72c6fd3b4ba42529014','archive',1,1,NULL,'{"path": "/tmp/tmp3lavmvup/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795964659514996,1);
INSERT INTO "transitions" VALUES('01a227d5e72c6fd3b4ba42529014','fill',1,1,NULL,'null',1795964659526865,1);
INSERT INTO "transitions" VALUES('01a227d5e72c6fd3b4ba42529014','seal',1,1,NULL,'null',1795964659527254,1);
INSERT INTO "transitions" VALUES('01a227d5e72c6fd3b4ba42529014','publish',1,1,NULL,'null',1795964659552933,1);
INSERT INTO "transitions" VALUES('01a227d5e72c6fd3b4ba42529014','retire',1,1,NULL,'null',1795964659553301,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','record',1,1,NULL,'null',1795964659821749,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','disk',1,1,NULL,'null',1795964659842999,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','machine',1,1,NULL,'null',1795964659853080,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795964659869775,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','world',1,1,NULL,'{"was": "none"}',1795964659913298,1);
INSERT INTO "transitions" VALUES('01a227d5e86113b9b75e96ce0da4','publish',1,1,NULL,'null',1795964659937911,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','record',1,1,NULL,'null',1795964659992981,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','disk',1,1,NULL,'null',1795964660017533,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','machine',1,1,NULL,'null',1795964660019229,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795964660033618,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','world',1,1,NULL,'{"was": "none"}',1795964660045185,1);
INSERT INTO "transitions" VALUES('01a227d5e90e0856ec585d66b95e','publish',1,1,NULL,'null',1795964660046178,1);
INSERT INTO "transitions" VALUES('01a227d5e9539c2d4d18ad796e1a','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795964660055292,1);
INSERT INTO "transitions" VALUES('01a227d5e9539c2d4d18ad796e1a','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795964660056432}',1795964660056465,1);
INSERT INTO "transitions" VALUES('01a227d5e9539c2d4d18ad796e1a','publish',1,1,NULL,'null',1795964660057881,1);
INSERT INTO "transitions" VALUES('01a227d5e96c906da554b86f3564','down',1,1,NULL,'null',1795964660080916,1);
INSERT INTO "transitions" VALUES('01a227d5e96c906da554b86f3564','detach',1,1,NULL,'null',1795964660081310,1);
INSERT INTO "transitions" VALUES('01a227d5e96c906da554b86f3564','publish',1,1,NULL,'null',1795964660081660,1);
INSERT INTO "transitions" VALUES('01a227d5e98074c9c6752116d3c0','record',1,1,NULL,'null',1795964660112877,1);
INSERT INTO "transitions" VALUES('01a227d5e98074c9c6752116d3c0','disk',1,1,NULL,'null',1795964660114045,1);
INSERT INTO "transitions" VALUES('01a227d5e98074c9c6752116d3c0','ready',1,1,NULL,'null',1795964660120896,1);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('15e90b36ecf69335','8cfcdf30','https://receiver.example/','9uiHJkVl_PuHwZ4yCKLRE-xm04YBxRsl1zmq_NvT8WsVKIjMFU5g6toDEgjg4QwowESx6dBWAVI1O-lQrwCV5FFx7H0YorVXxY76dDRO',NULL,'[]','',1795964660132726,20,0,NULL,0,NULL,NULL,NULL);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
CREATE UNIQUE INDEX checkpoint_names ON checkpoints (sprite, name) WHERE name IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',23);
COMMIT;
