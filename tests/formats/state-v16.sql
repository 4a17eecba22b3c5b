BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('6078b1def271c9c3','e77f1762','shop','default',1795955111433560,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795955110585407);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-43766303-fa55-473c-a5d1-5ace32e778e9','v1',1,NULL,'kept',0,1,1.5,1795955111282482,'ready');
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795955110548454,'prepare.begun','base/minimal','{"run": "01a2274432949288ca6dfd1760ce"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795955110596808,'prepare.decided','base/minimal','{"run": "01a2274432949288ca6dfd1760ce", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795955110621078,'token.issued','token/86d79ad591af','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795955110979468,'create.begun','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"run": "01a2274434432c4549885fd0f43b"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795955110988415,'sprite.recorded','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"name": "web"}','e77f1762','web');
INSERT INTO "events" VALUES(6,1795955111082089,'create.decided','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"run": "01a2274434432c4549885fd0f43b", "ending": "done", "error": null}','e77f1762','web');
INSERT INTO "events" VALUES(7,1795955111120118,'create.begun','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"run": "01a2274434cf1ef3db5f3bb545e1"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795955111129008,'sprite.recorded','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"name": "cold"}','e77f1762','cold');
INSERT INTO "events" VALUES(9,1795955111212965,'create.decided','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"run": "01a2274434cf1ef3db5f3bb545e1", "ending": "done", "error": null}','e77f1762','cold');
INSERT INTO "events" VALUES(10,1795955111257331,'checkpoint.begun','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"run": "01a22744355941118b693f6ce230"}','e77f1762','web');
INSERT INTO "events" VALUES(11,1795955111282925,'checkpoint.published','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"checkpoint": "v1"}','e77f1762','web');
INSERT INTO "events" VALUES(12,1795955111295812,'checkpoint.decided','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"run": "01a22744355941118b693f6ce230", "ending": "done", "error": null}','e77f1762','web');
INSERT INTO "events" VALUES(13,1795955111328808,'stop.begun','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"run": "01a2274435a0cf7b6e0aafeb8a71"}','e77f1762','cold');
INSERT INTO "events" VALUES(14,1795955111350780,'sprite.cold','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"why": "asked for"}','e77f1762','cold');
INSERT INTO "events" VALUES(15,1795955111351037,'stop.decided','sprite/sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"run": "01a2274435a0cf7b6e0aafeb8a71", "ending": "done", "error": null}','e77f1762','cold');
INSERT INTO "events" VALUES(16,1795955111387003,'hold.put','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"hold": "build", "expires_us": null}','e77f1762','web');
INSERT INTO "events" VALUES(17,1795955111413338,'token.issued','token/e7830bdcf85a','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795955111461455,'create.begun','volume/vol_fbf66c8e0e42276e','{"run": "01a22744362594644967f6e92e12"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795955111473500,'volume.recorded','volume/vol_fbf66c8e0e42276e','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795955111491669,'create.decided','volume/vol_fbf66c8e0e42276e','{"run": "01a22744362594644967f6e92e12", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795955111545194,'webhook.created','webhook/323e0b8e4cccbceb','{"url": "https://receiver.example/"}','e77f1762',NULL);
INSERT INTO "events" VALUES(22,1795955111567961,'checkpoint.renamed','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"checkpoint": "v1", "name": "ready"}','e77f1762','web');
INSERT INTO "events" VALUES(23,1795955111597053,'fork_many.begun','sprite/sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"run": "01a2274436ac30a2d529af1455f4"}','e77f1762','web');
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
INSERT INTO "fly_secrets" VALUES('6078b1def271c9c3','key','NyWquophc3RchUYBuh-7oZUhbw-YgN4kNQJxP1h5GRzF3g==','539ff2604908f345',1795955111524988,1795955111524988);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_fbf66c8e0e42276e','6078b1def271c9c3','data','local','created',1,NULL,5,1795955111460996);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-43766303-fa55-473c-a5d1-5ace32e778e9','build',1795955111386614,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('c25583f41a17c9','container',131072,1795955111021150,536870912,2,4096);
INSERT INTO "machines" VALUES('57b5a1326a2032','container',196608,1795955111161172,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('e77f1762','local',1795955110609387);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2274432949288ca6dfd1760ce','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955110548389,1795955110608950,1,NULL);
INSERT INTO "runs" VALUES('01a2274434432c4549885fd0f43b','sprite','create','sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"organisation": "e77f1762", "name": "web", "suffix": "3ef1", "machine": "c25583f41a17c9", "volume": "sprite-3c62fa38-844c-48aa-8251-d253af906b32", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955110979426,1795955111089583,2,NULL);
INSERT INTO "runs" VALUES('01a2274434cf1ef3db5f3bb545e1','sprite','create','sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"organisation": "e77f1762", "name": "cold", "suffix": "a104", "machine": "57b5a1326a2032", "volume": "sprite-69283ca6-db0c-45cb-a91b-d0799da461f2", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955111120072,1795955111236997,2,NULL);
INSERT INTO "runs" VALUES('01a22744355941118b693f6ce230','sprite','checkpoint','sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955111257279,1795955111321922,1,NULL);
INSERT INTO "runs" VALUES('01a2274435a0cf7b6e0aafeb8a71','sprite','stop','sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955111328772,1795955111366820,1,NULL);
INSERT INTO "runs" VALUES('01a22744362594644967f6e92e12','volume','create','vol_fbf66c8e0e42276e','{"app": "6078b1def271c9c3", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795955111460996, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795955111461418,1795955111506770,1,NULL);
INSERT INTO "runs" VALUES('01a2274436ac30a2d529af1455f4','sprite','fork_many','sprite-43766303-fa55-473c-a5d1-5ace32e778e9','{"checkpoint": "v1", "forks": [{"sprite": "sprite-8c16b0c8-7166-42d2-a36b-4ed75b510510", "create": {"organisation": "e77f1762", "name": "copy-a", "suffix": "dbdb", "machine": "97b10a6cb2aa0e", "volume": "sprite-52174c93-0147-4bb4-8cf6-dcbe2c09c60f", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-43766303-fa55-473c-a5d1-5ace32e778e9", "checkpoint": "v1"}, "claimed": null}}, {"sprite": "sprite-dc33a1c9-5b38-4161-ab88-ddea0bcb434a", "create": {"organisation": "e77f1762", "name": "copy-b", "suffix": "001a", "machine": "53a3efc1e1cbb6", "volume": "sprite-c797fcc8-9792-4c65-b556-d26aa3e7dbb2", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-43766303-fa55-473c-a5d1-5ace32e778e9", "checkpoint": "v1"}, "claimed": null}}]}','["save", "create", "prune"]',NULL,1795955111597008,NULL,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-43766303-fa55-473c-a5d1-5ace32e778e9','e77f1762','web','3ef1','c25583f41a17c9','sprite-3c62fa38-844c-48aa-8251-d253af906b32','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795955110988261,1795955111282955,1795955111074722,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-92fb26cc-c4e3-48eb-be44-5a126579e3c1','e77f1762','cold','a104','57b5a1326a2032','sprite-69283ca6-db0c-45cb-a91b-d0799da461f2','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795955111128909,1795955111350700,1795955111202483,NULL,'{}','{"status":"cold","at_us":1795955111350674,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('86d79ad591af','e77f1762','cd2f64911c84f251004c2a1ba5e5fdd140c8ed8e6c2dc73d36c93834d0ba8db0','test',1795955110620964,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('e7830bdcf85a','e77f1762','760f9ec5f214be43720a3d5ef4ac0040e2393bac482383880531756c58f5fd8e','',1795955111413267,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2274432949288ca6dfd1760ce','archive',1,1,NULL,'{"path": "/tmp/tmpob6ccx_7/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795955110567279,1);
INSERT INTO "transitions" VALUES('01a2274432949288ca6dfd1760ce','fill',1,1,NULL,'null',1795955110585120,1);
INSERT INTO "transitions" VALUES('01a2274432949288ca6dfd1760ce','seal',1,1,NULL,'null',1795955110585317,1);
INSERT INTO "transitions" VALUES('01a2274432949288ca6dfd1760ce','publish',1,1,NULL,'null',1795955110596298,1);
INSERT INTO "transitions" VALUES('01a2274432949288ca6dfd1760ce','retire',1,1,NULL,'null',1795955110596469,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','record',1,1,NULL,'null',1795955111008893,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','disk',1,1,NULL,'null',1795955111011784,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','machine',1,1,NULL,'null',1795955111027499,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795955111041366,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','world',1,1,NULL,'{"was": "none"}',1795955111074465,1);
INSERT INTO "transitions" VALUES('01a2274434432c4549885fd0f43b','publish',1,1,NULL,'null',1795955111081718,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','record',1,1,NULL,'null',1795955111150420,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','disk',1,1,NULL,'null',1795955111160593,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','machine',1,1,NULL,'null',1795955111173571,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795955111182022,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','world',1,1,NULL,'{"was": "none"}',1795955111202250,1);
INSERT INTO "transitions" VALUES('01a2274434cf1ef3db5f3bb545e1','publish',1,1,NULL,'null',1795955111212494,1);
INSERT INTO "transitions" VALUES('01a22744355941118b693f6ce230','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795955111280607,1);
INSERT INTO "transitions" VALUES('01a22744355941118b693f6ce230','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795955111282482}',1795955111282520,1);
INSERT INTO "transitions" VALUES('01a22744355941118b693f6ce230','publish',1,1,NULL,'null',1795955111295547,1);
INSERT INTO "transitions" VALUES('01a2274435a0cf7b6e0aafeb8a71','down',1,1,NULL,'null',1795955111350175,1);
INSERT INTO "transitions" VALUES('01a2274435a0cf7b6e0aafeb8a71','detach',1,1,NULL,'null',1795955111350576,1);
INSERT INTO "transitions" VALUES('01a2274435a0cf7b6e0aafeb8a71','publish',1,1,NULL,'null',1795955111350857,1);
INSERT INTO "transitions" VALUES('01a22744362594644967f6e92e12','record',1,1,NULL,'null',1795955111484936,1);
INSERT INTO "transitions" VALUES('01a22744362594644967f6e92e12','disk',1,1,NULL,'null',1795955111485838,1);
INSERT INTO "transitions" VALUES('01a22744362594644967f6e92e12','ready',1,1,NULL,'null',1795955111491392,1);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('323e0b8e4cccbceb','e77f1762','https://receiver.example/','2M9ezlbzEJMMREZFD3F80XWjQ7odPy-zy3L52ZWGgMsGRP4oNFnjRHGCplZ_F4TOZrpYLg5P_JaE72fCReO3HmMFsCsUxIU23yWo49V5',NULL,'[]','',1795955111540653,20,0,NULL,0,NULL,NULL,NULL);
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
