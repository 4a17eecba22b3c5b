BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('bfee4866d5eaae88','bc5fcc6e','shop','default',1795954002239509,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795954001873791);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','v1',1,NULL,'kept',0,1,1.5,1795954002196247);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795954001857724,'prepare.begun','base/minimal','{"run": "01a2273347c1aecb04c340183a87"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795954001881131,'prepare.decided','base/minimal','{"run": "01a2273347c1aecb04c340183a87", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795954001888247,'token.issued','token/8f3b82dfc739','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795954002046760,'create.begun','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"run": "01a22733487ee847fcd6e8017d3a"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795954002048256,'sprite.recorded','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"name": "web"}','bc5fcc6e','web');
INSERT INTO "events" VALUES(6,1795954002137152,'create.decided','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"run": "01a22733487ee847fcd6e8017d3a", "ending": "done", "error": null}','bc5fcc6e','web');
INSERT INTO "events" VALUES(7,1795954002148419,'create.begun','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"run": "01a2273348e4628aaca351e73e0c"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795954002154852,'sprite.recorded','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"name": "cold"}','bc5fcc6e','cold');
INSERT INTO "events" VALUES(9,1795954002185815,'create.decided','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"run": "01a2273348e4628aaca351e73e0c", "ending": "done", "error": null}','bc5fcc6e','cold');
INSERT INTO "events" VALUES(10,1795954002192282,'checkpoint.begun','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"run": "01a227334910bafd7207d047843a"}','bc5fcc6e','web');
INSERT INTO "events" VALUES(11,1795954002196615,'checkpoint.published','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"checkpoint": "v1"}','bc5fcc6e','web');
INSERT INTO "events" VALUES(12,1795954002198269,'checkpoint.decided','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"run": "01a227334910bafd7207d047843a", "ending": "done", "error": null}','bc5fcc6e','web');
INSERT INTO "events" VALUES(13,1795954002208629,'stop.begun','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"run": "01a2273349205bb8be0ff640ee21"}','bc5fcc6e','cold');
INSERT INTO "events" VALUES(14,1795954002227901,'sprite.cold','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"why": "asked for"}','bc5fcc6e','cold');
INSERT INTO "events" VALUES(15,1795954002228326,'stop.decided','sprite/sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"run": "01a2273349205bb8be0ff640ee21", "ending": "done", "error": null}','bc5fcc6e','cold');
INSERT INTO "events" VALUES(16,1795954002233919,'hold.put','sprite/sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"hold": "build", "expires_us": null}','bc5fcc6e','web');
INSERT INTO "events" VALUES(17,1795954002237273,'token.issued','token/0140e3e714b1','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795954002242787,'create.begun','volume/vol_1069c6cfc1719ea6','{"run": "01a2273349420c1783ec36b5306d"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795954002243921,'volume.recorded','volume/vol_1069c6cfc1719ea6','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795954002245455,'create.decided','volume/vol_1069c6cfc1719ea6','{"run": "01a2273349420c1783ec36b5306d", "ending": "done", "error": null}',NULL,NULL);
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
INSERT INTO "fly_secrets" VALUES('bfee4866d5eaae88','key','vBv-yFvYpYNGOgvuoVJkHYrl90z1axLZO-y_Yoo6_XVong==','b6e9f1e0120b049b',1795954002252108,1795954002252108);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_1069c6cfc1719ea6','bfee4866d5eaae88','data','local','created',1,NULL,5,1795954002242341);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','build',1795954002233676,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('a34ea8dc4b1295','container',131072,1795954002050413,536870912,2);
INSERT INTO "machines" VALUES('18fe1ebe36c4d3','container',196608,1795954002156515,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('bc5fcc6e','local',1795954001887340);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2273347c1aecb04c340183a87','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954001857669,1795954001886983,1,NULL);
INSERT INTO "runs" VALUES('01a22733487ee847fcd6e8017d3a','sprite','create','sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"organisation": "bc5fcc6e", "name": "web", "suffix": "0ef9", "machine": "a34ea8dc4b1295", "volume": "sprite-c289c141-da10-456b-9ab6-faacff941ace", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954002046733,1795954002141125,2,NULL);
INSERT INTO "runs" VALUES('01a2273348e4628aaca351e73e0c','sprite','create','sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"organisation": "bc5fcc6e", "name": "cold", "suffix": "9c79", "machine": "18fe1ebe36c4d3", "volume": "sprite-76bbddb1-64c9-4a52-a7a4-24e9bc942c28", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954002148388,1795954002189017,2,NULL);
INSERT INTO "runs" VALUES('01a227334910bafd7207d047843a','sprite','checkpoint','sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954002192257,1795954002204924,1,NULL);
INSERT INTO "runs" VALUES('01a2273349205bb8be0ff640ee21','sprite','stop','sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954002208585,1795954002229148,1,NULL);
INSERT INTO "runs" VALUES('01a2273349420c1783ec36b5306d','volume','create','vol_1069c6cfc1719ea6','{"app": "bfee4866d5eaae88", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795954002242341, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954002242686,1795954002248894,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-d98c5311-b5b2-4f99-bb57-67bf1071ea35','bc5fcc6e','web','0ef9','a34ea8dc4b1295','sprite-c289c141-da10-456b-9ab6-faacff941ace','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795954002048132,1795954002196643,1795954002121746,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-11b83e0c-8542-49e0-9fa8-cc7eaa9127bb','bc5fcc6e','cold','9c79','18fe1ebe36c4d3','sprite-76bbddb1-64c9-4a52-a7a4-24e9bc942c28','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795954002154765,1795954002227788,1795954002173618,NULL,'{}','{"status":"cold","at_us":1795954002227748,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('8f3b82dfc739','bc5fcc6e','fdd3717f6f71c40239414518300db88fdbe643766874fc56f1e215d5f0025a78','test',1795954001888184,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('0140e3e714b1','bc5fcc6e','aa0cf8405828d17b8869f1ab281dc4ee495f0a91112420d90c793c2e0aca9271','',1795954002237231,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2273347c1aecb04c340183a87','archive',1,1,NULL,'{"path": "/tmp/tmpet7_7zst/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795954001866286,1);
INSERT INTO "transitions" VALUES('01a2273347c1aecb04c340183a87','fill',1,1,NULL,'null',1795954001873547,1);
INSERT INTO "transitions" VALUES('01a2273347c1aecb04c340183a87','seal',1,1,NULL,'null',1795954001873699,1);
INSERT INTO "transitions" VALUES('01a2273347c1aecb04c340183a87','publish',1,1,NULL,'null',1795954001880774,1);
INSERT INTO "transitions" VALUES('01a2273347c1aecb04c340183a87','retire',1,1,NULL,'null',1795954001880897,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','record',1,1,NULL,'null',1795954002048955,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','disk',1,1,NULL,'null',1795954002049841,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','machine',1,1,NULL,'null',1795954002081282,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954002089885,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','world',1,1,NULL,'{"was": "none"}',1795954002121525,1);
INSERT INTO "transitions" VALUES('01a22733487ee847fcd6e8017d3a','publish',1,1,NULL,'null',1795954002136845,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','record',1,1,NULL,'null',1795954002155385,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','disk',1,1,NULL,'null',1795954002156228,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','machine',1,1,NULL,'null',1795954002157309,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954002158678,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','world',1,1,NULL,'{"was": "none"}',1795954002173418,1);
INSERT INTO "transitions" VALUES('01a2273348e4628aaca351e73e0c','publish',1,1,NULL,'null',1795954002185547,1);
INSERT INTO "transitions" VALUES('01a227334910bafd7207d047843a','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795954002195446,1);
INSERT INTO "transitions" VALUES('01a227334910bafd7207d047843a','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795954002196247}',1795954002196270,1);
INSERT INTO "transitions" VALUES('01a227334910bafd7207d047843a','publish',1,1,NULL,'null',1795954002198094,1);
INSERT INTO "transitions" VALUES('01a2273349205bb8be0ff640ee21','down',1,1,NULL,'null',1795954002227104,1);
INSERT INTO "transitions" VALUES('01a2273349205bb8be0ff640ee21','detach',1,1,NULL,'null',1795954002227622,1);
INSERT INTO "transitions" VALUES('01a2273349205bb8be0ff640ee21','publish',1,1,NULL,'null',1795954002228032,1);
INSERT INTO "transitions" VALUES('01a2273349420c1783ec36b5306d','record',1,1,NULL,'null',1795954002244362,1);
INSERT INTO "transitions" VALUES('01a2273349420c1783ec36b5306d','disk',1,1,NULL,'null',1795954002244783,1);
INSERT INTO "transitions" VALUES('01a2273349420c1783ec36b5306d','ready',1,1,NULL,'null',1795954002245275,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',20);
COMMIT;
