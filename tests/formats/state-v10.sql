BEGIN TRANSACTION;
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "apps" VALUES('1cb5b50f87111361','747e3d6b','shop','default',1795953141466720);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953140055074);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','v1',1,NULL,'kept',0,1,1.5,1795953140719964);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953140034436,'prepare.begun','base/minimal','{"run": "01a227262142b82cca7ae8c9546c"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953140059889,'prepare.decided','base/minimal','{"run": "01a227262142b82cca7ae8c9546c", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953140077041,'token.issued','token/790865eb536c','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953140359127,'create.begun','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"run": "01a22726228614a2e38e872b06e6"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953140361044,'sprite.recorded','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"name": "web"}','747e3d6b','web');
INSERT INTO "events" VALUES(6,1795953140387806,'create.decided','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"run": "01a22726228614a2e38e872b06e6", "ending": "done", "error": null}','747e3d6b','web');
INSERT INTO "events" VALUES(7,1795953140553177,'create.begun','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"run": "01a22726234919c8e655aeaaa1d8"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953140557467,'sprite.recorded','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"name": "cold"}','747e3d6b','cold');
INSERT INTO "events" VALUES(9,1795953140602147,'create.decided','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"run": "01a22726234919c8e655aeaaa1d8", "ending": "done", "error": null}','747e3d6b','cold');
INSERT INTO "events" VALUES(10,1795953140705146,'checkpoint.begun','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"run": "01a2272623e0941a8e1139f7ccd4"}','747e3d6b','web');
INSERT INTO "events" VALUES(11,1795953140720532,'checkpoint.published','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"checkpoint": "v1"}','747e3d6b','web');
INSERT INTO "events" VALUES(12,1795953140733454,'checkpoint.decided','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"run": "01a2272623e0941a8e1139f7ccd4", "ending": "done", "error": null}','747e3d6b','web');
INSERT INTO "events" VALUES(13,1795953140938245,'stop.begun','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"run": "01a2272624ca5b443bc8f5719937"}','747e3d6b','cold');
INSERT INTO "events" VALUES(14,1795953140944647,'sprite.cold','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"why": "asked for"}','747e3d6b','cold');
INSERT INTO "events" VALUES(15,1795953140945061,'stop.decided','sprite/sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"run": "01a2272624ca5b443bc8f5719937", "ending": "done", "error": null}','747e3d6b','cold');
INSERT INTO "events" VALUES(16,1795953141077534,'hold.put','sprite/sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"hold": "build", "expires_us": null}','747e3d6b','web');
INSERT INTO "events" VALUES(17,1795953141311061,'token.issued','token/4dc806fab9da','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
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
INSERT INTO "holds" VALUES('sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','build',1795953141077276,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('48e22e3b661858','container',131072,1795953140362901,536870912,2);
INSERT INTO "machines" VALUES('2554a51d9a91e0','container',196608,1795953140565827,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('747e3d6b','local',1795953140067173);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227262142b82cca7ae8c9546c','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953140034381,1795953140066662,1,NULL);
INSERT INTO "runs" VALUES('01a22726228614a2e38e872b06e6','sprite','create','sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"organisation": "747e3d6b", "name": "web", "suffix": "a5f8", "machine": "48e22e3b661858", "volume": "sprite-c3becac7-e00e-421f-b8ae-5e5f1b43715f", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953140359096,1795953140391169,2,NULL);
INSERT INTO "runs" VALUES('01a22726234919c8e655aeaaa1d8','sprite','create','sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"organisation": "747e3d6b", "name": "cold", "suffix": "7123", "machine": "2554a51d9a91e0", "volume": "sprite-14adbd4f-2971-435f-b44e-b4ebc2c03b31", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953140553145,1795953140604393,2,NULL);
INSERT INTO "runs" VALUES('01a2272623e0941a8e1139f7ccd4','sprite','checkpoint','sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953140705114,1795953140741287,1,NULL);
INSERT INTO "runs" VALUES('01a2272624ca5b443bc8f5719937','sprite','stop','sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953140938193,1795953140947693,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-cde6c1f1-9ae6-44fc-8f35-c5d66552b718','747e3d6b','web','a5f8','48e22e3b661858','sprite-c3becac7-e00e-421f-b8ae-5e5f1b43715f','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953140360518,1795953140720580,1795953140377808,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-c09a04bc-b526-45af-bc38-dbbf3c66ce81','747e3d6b','cold','7123','2554a51d9a91e0','sprite-14adbd4f-2971-435f-b44e-b4ebc2c03b31','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953140557290,1795953140944572,1795953140600880,NULL,'{}','{"status":"cold","at_us":1795953140944546,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('790865eb536c','747e3d6b','50f8ee59c500a5a2784f45951ea4cd5b71eaab9b8da2b88b971b1985d352c6f2','test',1795953140076934,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('4dc806fab9da','747e3d6b','976ff8b761c32b504a63ce5e21581a7e1b2ce781c90cf1d4f3cf25eada9f06f0','',1795953141311011,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227262142b82cca7ae8c9546c','archive',1,1,NULL,'{"path": "/tmp/tmp1rd__egz/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953140051705,1);
INSERT INTO "transitions" VALUES('01a227262142b82cca7ae8c9546c','fill',1,1,NULL,'null',1795953140054823,1);
INSERT INTO "transitions" VALUES('01a227262142b82cca7ae8c9546c','seal',1,1,NULL,'null',1795953140054983,1);
INSERT INTO "transitions" VALUES('01a227262142b82cca7ae8c9546c','publish',1,1,NULL,'null',1795953140059478,1);
INSERT INTO "transitions" VALUES('01a227262142b82cca7ae8c9546c','retire',1,1,NULL,'null',1795953140059648,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','record',1,1,NULL,'null',1795953140361509,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','disk',1,1,NULL,'null',1795953140362378,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','machine',1,1,NULL,'null',1795953140364959,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953140369066,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','world',1,1,NULL,'{"was": "none"}',1795953140377640,1);
INSERT INTO "transitions" VALUES('01a22726228614a2e38e872b06e6','publish',1,1,NULL,'null',1795953140387519,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','record',1,1,NULL,'null',1795953140564519,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','disk',1,1,NULL,'null',1795953140565510,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','machine',1,1,NULL,'null',1795953140573032,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953140574626,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','world',1,1,NULL,'{"was": "none"}',1795953140600591,1);
INSERT INTO "transitions" VALUES('01a22726234919c8e655aeaaa1d8','publish',1,1,NULL,'null',1795953140601932,1);
INSERT INTO "transitions" VALUES('01a2272623e0941a8e1139f7ccd4','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953140718910,1);
INSERT INTO "transitions" VALUES('01a2272623e0941a8e1139f7ccd4','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953140719964}',1795953140720007,1);
INSERT INTO "transitions" VALUES('01a2272623e0941a8e1139f7ccd4','publish',1,1,NULL,'null',1795953140733061,1);
INSERT INTO "transitions" VALUES('01a2272624ca5b443bc8f5719937','down',1,1,NULL,'null',1795953140944183,1);
INSERT INTO "transitions" VALUES('01a2272624ca5b443bc8f5719937','detach',1,1,NULL,'null',1795953140944470,1);
INSERT INTO "transitions" VALUES('01a2272624ca5b443bc8f5719937','publish',1,1,NULL,'null',1795953140944891,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',17);
COMMIT;
