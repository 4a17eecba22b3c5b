BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('ee90d099942f0398','e08bd6e1','shop','default',1795978303538085,2);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795978302751219);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','v1',1,NULL,'kept',0,1,1.5,1795978303454760,'ready');
CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host));
CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795978302693953,'prepare.begun','base/minimal','{"run": "01a228a614e5e9e9ea543f655370"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795978302756844,'prepare.decided','base/minimal','{"run": "01a228a614e5e9e9ea543f655370", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795978302773102,'token.issued','token/265b64242391','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795978303132896,'create.begun','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"run": "01a228a6169cdecd047e447e5a47"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795978303162151,'sprite.recorded','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"name": "web"}','e08bd6e1','web');
INSERT INTO "events" VALUES(6,1795978303279797,'create.decided','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"run": "01a228a6169cdecd047e447e5a47", "ending": "done", "error": null}','e08bd6e1','web');
INSERT INTO "events" VALUES(7,1795978303318651,'create.begun','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"run": "01a228a617562b7470e67600b481"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795978303339697,'sprite.recorded','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"name": "cold"}','e08bd6e1','cold');
INSERT INTO "events" VALUES(9,1795978303437766,'create.decided','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"run": "01a228a617562b7470e67600b481", "ending": "done", "error": null}','e08bd6e1','cold');
INSERT INTO "events" VALUES(10,1795978303450426,'checkpoint.begun','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"run": "01a228a617da4d5da61670f7d112"}','e08bd6e1','web');
INSERT INTO "events" VALUES(11,1795978303455782,'checkpoint.published','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"checkpoint": "v1"}','e08bd6e1','web');
INSERT INTO "events" VALUES(12,1795978303458120,'checkpoint.decided','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"run": "01a228a617da4d5da61670f7d112", "ending": "done", "error": null}','e08bd6e1','web');
INSERT INTO "events" VALUES(13,1795978303481276,'stop.begun','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"run": "01a228a617f83ee48737e49aa084"}','e08bd6e1','cold');
INSERT INTO "events" VALUES(14,1795978303496606,'sprite.cold','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"why": "asked for"}','e08bd6e1','cold');
INSERT INTO "events" VALUES(15,1795978303497093,'stop.decided','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"run": "01a228a617f83ee48737e49aa084", "ending": "done", "error": null}','e08bd6e1','cold');
INSERT INTO "events" VALUES(16,1795978303526103,'hold.put','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"hold": "build", "expires_us": null}','e08bd6e1','web');
INSERT INTO "events" VALUES(17,1795978303532406,'sprite.privileges','sprite/sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"privileges": {"profile": "minimal", "devices": [], "no_new_privileges": false}}','e08bd6e1','cold');
INSERT INTO "events" VALUES(18,1795978303535425,'token.issued','token/51c56ca86832','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795978303545041,'create.begun','volume/vol_575b82da83f31000','{"run": "01a228a61838b070637cab3c1614"}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795978303554207,'volume.recorded','volume/vol_575b82da83f31000','{}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795978303565207,'create.decided','volume/vol_575b82da83f31000','{"run": "01a228a61838b070637cab3c1614", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(22,1795978303580247,'webhook.created','webhook/8562b3c7135d1d1d','{}','e08bd6e1',NULL);
INSERT INTO "events" VALUES(23,1795978303583708,'checkpoint.renamed','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"checkpoint": "v1", "name": "ready"}','e08bd6e1','web');
INSERT INTO "events" VALUES(24,1795978303594511,'fork_many.begun','sprite/sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"run": "01a228a6186a30d6196344311514"}','e08bd6e1','web');
CREATE TABLE fly_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL REFERENCES fly_machines (id), type TEXT NOT NULL,
        status TEXT NOT NULL, source TEXT NOT NULL, at_us BIGINT NOT NULL, request TEXT NOT NULL);
CREATE TABLE fly_keys (
        app TEXT NOT NULL REFERENCES apps (id), label TEXT NOT NULL, version BIGINT NOT NULL, kind TEXT NOT NULL,
        sealed TEXT NOT NULL, public TEXT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (app, label, version));
INSERT INTO "fly_keys" VALUES('ee90d099942f0398','orders',0,'xaes256gcm','gbdS9XcNpLfTLh_0oUFR_LOVCUjJNq6WUFwWKROSFEDLhGceqI9D7WPZp2xwgNJCHPCt9S8V6dGs_3Wz9t7Y6chtRyHAl7PL','',1795978303575861);
CREATE TABLE fly_machines (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, metadata TEXT NOT NULL, images TEXT NOT NULL,
        cordoned INTEGER NOT NULL, lease TEXT, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL);
CREATE TABLE fly_secrets (
        app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, sealed TEXT NOT NULL, digest TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (app, name));
INSERT INTO "fly_secrets" VALUES('ee90d099942f0398','key','bHKKHGd5yRaT0eEAtG82RRPzrP-UQLQya7XDbhZ7bFHTQw==','9039d2608cbd4e9a',1795978303572007,1795978303572007);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_575b82da83f31000','ee90d099942f0398','data','local','created',1,NULL,5,1795978303544888);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','build',1795978303525869,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('1f98c7c3ac6bf3','container',131072,1795978303175451,536870912,2,4096);
INSERT INTO "machines" VALUES('999b8594ac2a29','container',196608,1795978303345898,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT, authority TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('e08bd6e1','local',1795978302761304);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a228a614e5e9e9ea543f655370','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978302693856,1795978302758765,1,NULL);
INSERT INTO "runs" VALUES('01a228a6169cdecd047e447e5a47','sprite','create','sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"organisation": "e08bd6e1", "name": "web", "suffix": "1f81", "machine": "1f98c7c3ac6bf3", "volume": "sprite-564fab85-dc73-41c6-8651-61708c7da46d", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978303132859,1795978303289254,2,NULL);
INSERT INTO "runs" VALUES('01a228a617562b7470e67600b481','sprite','create','sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"organisation": "e08bd6e1", "name": "cold", "suffix": "8f08", "machine": "999b8594ac2a29", "volume": "sprite-491b47f7-5456-41dc-bc62-d917ab0563e3", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978303318616,1795978303444141,2,NULL);
INSERT INTO "runs" VALUES('01a228a617da4d5da61670f7d112','sprite','checkpoint','sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978303450383,1795978303459478,1,NULL);
INSERT INTO "runs" VALUES('01a228a617f83ee48737e49aa084','sprite','stop','sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978303481241,1795978303500515,1,NULL);
INSERT INTO "runs" VALUES('01a228a61838b070637cab3c1614','volume','create','vol_575b82da83f31000','{"app": "ee90d099942f0398", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795978303544888, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795978303545008,1795978303565629,1,NULL);
INSERT INTO "runs" VALUES('01a228a6186a30d6196344311514','sprite','fork_many','sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','{"checkpoint": "v1", "forks": [{"sprite": "sprite-8c8ac702-d0b8-488f-8a88-5e1d9768e78d", "create": {"organisation": "e08bd6e1", "name": "copy-a", "suffix": "d095", "machine": "fc59c5c22e39a1", "volume": "sprite-83328243-e924-496e-87b5-6ff2a11baecf", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}, {"sprite": "sprite-0460b735-c769-4784-bf48-fb4a2be769d4", "create": {"organisation": "e08bd6e1", "name": "copy-b", "suffix": "fd09", "machine": "a3d85260478c24", "volume": "sprite-982c3d76-0577-495e-9e27-0bd06b165346", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}]}','["save", "create", "prune"]',NULL,1795978303594481,NULL,1,NULL);
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
INSERT INTO "schema_version" VALUES(18);
INSERT INTO "schema_version" VALUES(19);
INSERT INTO "schema_version" VALUES(20);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null', privileges TEXT NOT NULL DEFAULT '{}',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','e08bd6e1','web','1f81','1f98c7c3ac6bf3','sprite-564fab85-dc73-41c6-8651-61708c7da46d','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795978303161883,1795978303455825,1795978303265969,NULL,'{"cold_after_s":60.0}','null','{"profile":"","devices":[],"no_new_privileges":false}');
INSERT INTO "sprites" VALUES('sprite-34f87e86-db9a-4a7e-aa4b-fab76eca1666','e08bd6e1','cold','8f08','999b8594ac2a29','sprite-491b47f7-5456-41dc-bc62-d917ab0563e3','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795978303339565,1795978303532330,1795978303436507,NULL,'{}','{"status":"cold","at_us":1795978303496504,"why":"asked for"}','{"profile":"minimal","devices":[],"no_new_privileges":false}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('265b64242391','e08bd6e1','fdde99c9b75eb675450cc2b7584d41985cfbbfdf63acb9559ab06fb29fa7778b','test',1795978302773003,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('51c56ca86832','e08bd6e1','9df04d7228108a367fc0b9b5f0ce6f58ce915436d8cf4c9ab5f95f19f723ae60','',1795978303535391,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a228a614e5e9e9ea543f655370','archive',1,1,NULL,'{"path": "/tmp/tmpc4vg4gcd/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795978302710488,1);
INSERT INTO "transitions" VALUES('01a228a614e5e9e9ea543f655370','fill',1,1,NULL,'null',1795978302745228,1);
INSERT INTO "transitions" VALUES('01a228a614e5e9e9ea543f655370','seal',1,1,NULL,'null',1795978302750867,1);
INSERT INTO "transitions" VALUES('01a228a614e5e9e9ea543f655370','publish',1,1,NULL,'null',1795978302756232,1);
INSERT INTO "transitions" VALUES('01a228a614e5e9e9ea543f655370','retire',1,1,NULL,'null',1795978302756440,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','record',1,1,NULL,'null',1795978303172892,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','disk',1,1,NULL,'null',1795978303174488,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','machine',1,1,NULL,'null',1795978303203986,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','join',1,1,NULL,'null',1795978303204166,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795978303225250,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','world',1,1,NULL,'{"was": "none"}',1795978303265758,1);
INSERT INTO "transitions" VALUES('01a228a6169cdecd047e447e5a47','publish',1,1,NULL,'null',1795978303279498,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','record',1,1,NULL,'null',1795978303344269,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','disk',1,1,NULL,'null',1795978303345458,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','machine',1,1,NULL,'null',1795978303365361,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','join',1,1,NULL,'null',1795978303365539,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795978303387315,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','world',1,1,NULL,'{"was": "none"}',1795978303436249,1);
INSERT INTO "transitions" VALUES('01a228a617562b7470e67600b481','publish',1,1,NULL,'null',1795978303437457,1);
INSERT INTO "transitions" VALUES('01a228a617da4d5da61670f7d112','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795978303453717,1);
INSERT INTO "transitions" VALUES('01a228a617da4d5da61670f7d112','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795978303454760}',1795978303454793,1);
INSERT INTO "transitions" VALUES('01a228a617da4d5da61670f7d112','publish',1,1,NULL,'null',1795978303457848,1);
INSERT INTO "transitions" VALUES('01a228a617f83ee48737e49aa084','down',1,1,NULL,'null',1795978303496116,1);
INSERT INTO "transitions" VALUES('01a228a617f83ee48737e49aa084','detach',1,1,NULL,'null',1795978303496422,1);
INSERT INTO "transitions" VALUES('01a228a617f83ee48737e49aa084','publish',1,1,NULL,'null',1795978303496912,1);
INSERT INTO "transitions" VALUES('01a228a61838b070637cab3c1614','record',1,1,NULL,'null',1795978303555347,1);
INSERT INTO "transitions" VALUES('01a228a61838b070637cab3c1614','disk',1,1,NULL,'null',1795978303555791,1);
INSERT INTO "transitions" VALUES('01a228a61838b070637cab3c1614','ready',1,1,NULL,'null',1795978303564831,1);
CREATE TABLE usage_counters (
        sprite TEXT PRIMARY KEY, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL);
INSERT INTO "usage_counters" VALUES('sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e',7,8,9);
CREATE TABLE usage_days (
        day TEXT NOT NULL, sprite TEXT NOT NULL, organisation TEXT NOT NULL, name TEXT NOT NULL,
        awake_us BIGINT NOT NULL, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL,
        disk_bytes BIGINT NOT NULL, PRIMARY KEY (day, sprite));
INSERT INTO "usage_days" VALUES('2026-11-29','sprite-5d0a09ef-6cbc-45a7-937d-37f4b27ca93e','e08bd6e1','web',60000000,7,8,9,0);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('8562b3c7135d1d1d','e08bd6e1','https://receiver.example/','oBZ13mBr6OYCD68RJrSCLgQVFMKjW6hd8BEk-x9gakeQAAfqIhxn-JMXMhOy0GuBiSdN3VMs2o7Gaw8D4nA5l9ToVuaVby3GvpM-F_YJ',NULL,'[]','',1795978303579988,21,0,NULL,0,NULL,NULL,NULL);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
CREATE UNIQUE INDEX checkpoint_names ON checkpoints (sprite, name) WHERE name IS NOT NULL;
CREATE INDEX usage_days_by_sprite ON usage_days (sprite, day);
CREATE INDEX usage_days_by_organisation ON usage_days (organisation, day);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',24);
COMMIT;
