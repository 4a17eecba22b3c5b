BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('ff1ab1a5f4bfe61d','5c4fd2ae','shop','default',1795980802853175,2);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795980802273759);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','v1',1,NULL,'kept',0,1,1.5,1795980802804228,'ready');
CREATE TABLE clocks (name TEXT PRIMARY KEY, at_us BIGINT NOT NULL);
INSERT INTO "clocks" VALUES('snapshots',1790000000000000);
CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host));
CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795980802214264,'prepare.begun','base/minimal','{"run": "01a228cc38a600a1ce9744e21dc8"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795980802288913,'prepare.decided','base/minimal','{"run": "01a228cc38a600a1ce9744e21dc8", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795980802301039,'token.issued','token/0f9a08ae2482','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795980802614071,'create.begun','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"run": "01a228cc3a35a5de6e3e3b5b45af"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795980802619408,'sprite.recorded','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"name": "web"}','5c4fd2ae','web');
INSERT INTO "events" VALUES(6,1795980802689205,'create.decided','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"run": "01a228cc3a35a5de6e3e3b5b45af", "ending": "done", "error": null}','5c4fd2ae','web');
INSERT INTO "events" VALUES(7,1795980802709104,'create.begun','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"run": "01a228cc3a941b8b89473fb639ac"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795980802743126,'sprite.recorded','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"name": "cold"}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(9,1795980802793206,'create.decided','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"run": "01a228cc3a941b8b89473fb639ac", "ending": "done", "error": null}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(10,1795980802800322,'checkpoint.begun','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"run": "01a228cc3af08684aa0a4ba531f4"}','5c4fd2ae','web');
INSERT INTO "events" VALUES(11,1795980802804579,'checkpoint.published','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"checkpoint": "v1"}','5c4fd2ae','web');
INSERT INTO "events" VALUES(12,1795980802809009,'checkpoint.decided','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"run": "01a228cc3af08684aa0a4ba531f4", "ending": "done", "error": null}','5c4fd2ae','web');
INSERT INTO "events" VALUES(13,1795980802821080,'stop.begun','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"run": "01a228cc3b04cd5e96d4a4366813"}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(14,1795980802831334,'sprite.cold','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"why": "asked for"}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(15,1795980802831572,'stop.decided','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"run": "01a228cc3b04cd5e96d4a4366813", "ending": "done", "error": null}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(16,1795980802844745,'hold.put','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"hold": "build", "expires_us": null}','5c4fd2ae','web');
INSERT INTO "events" VALUES(17,1795980802848092,'sprite.privileges','sprite/sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"privileges": {"profile": "minimal", "devices": [], "no_new_privileges": false}}','5c4fd2ae','cold');
INSERT INTO "events" VALUES(18,1795980802851085,'token.issued','token/6f88e7ca8503','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795980802856387,'create.begun','volume/vol_047662cf8ffd0a9e','{"run": "01a228cc3b28184f42b2bf11c8bb"}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795980802857895,'volume.recorded','volume/vol_047662cf8ffd0a9e','{}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795980802859698,'create.decided','volume/vol_047662cf8ffd0a9e','{"run": "01a228cc3b28184f42b2bf11c8bb", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(22,1795980802873083,'webhook.created','webhook/a91fe34a773bc68e','{}','5c4fd2ae',NULL);
INSERT INTO "events" VALUES(23,1795980802875452,'checkpoint.renamed','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"checkpoint": "v1", "name": "ready"}','5c4fd2ae','web');
INSERT INTO "events" VALUES(24,1795980802877514,'fork_many.begun','sprite/sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"run": "01a228cc3b3db9f4dd3e14a07125"}','5c4fd2ae','web');
CREATE TABLE fly_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL REFERENCES fly_machines (id), type TEXT NOT NULL,
        status TEXT NOT NULL, source TEXT NOT NULL, at_us BIGINT NOT NULL, request TEXT NOT NULL);
CREATE TABLE fly_keys (
        app TEXT NOT NULL REFERENCES apps (id), label TEXT NOT NULL, version BIGINT NOT NULL, kind TEXT NOT NULL,
        sealed TEXT NOT NULL, public TEXT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (app, label, version));
INSERT INTO "fly_keys" VALUES('ff1ab1a5f4bfe61d','orders',0,'xaes256gcm','cv9KBR4z5YQ5o_b8xptZPY3ne-omI-hhx-xbUgkGdwgk5aBoqtVeR2L3eARFaaS1ObW8yb3a_3yJf10gXts11h14hLeFVnSV','',1795980802870068);
CREATE TABLE fly_machines (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, metadata TEXT NOT NULL, images TEXT NOT NULL,
        cordoned INTEGER NOT NULL, lease TEXT, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL);
CREATE TABLE fly_members (machine TEXT PRIMARY KEY, digests TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_members" VALUES('0123456789abcd','["sha256:0000000000000000000000000000000000000000000000000000000000000000"]',1795980802878749);
CREATE TABLE fly_secrets (
        app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, sealed TEXT NOT NULL, digest TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (app, name));
INSERT INTO "fly_secrets" VALUES('ff1ab1a5f4bfe61d','key','_qXrcLUCo5vGLpY0xdK6DuWMCczl6IpC2JKCXFy_PSvVnA==','39b1acbd86d5e645',1795980802867256,1795980802867256);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_047662cf8ffd0a9e','ff1ab1a5f4bfe61d','data','local','created',1,NULL,5,1795980802856246);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','build',1795980802844465,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('d29e8fa3cab8eb','container',131072,1795980802626358,536870912,2,4096);
INSERT INTO "machines" VALUES('d12a96743e92a7','container',196608,1795980802754682,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT, authority TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('5c4fd2ae','local',1795980802294820);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a228cc38a600a1ce9744e21dc8','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802214194,1795980802293013,1,NULL);
INSERT INTO "runs" VALUES('01a228cc3a35a5de6e3e3b5b45af','sprite','create','sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"organisation": "5c4fd2ae", "name": "web", "suffix": "d145", "machine": "d29e8fa3cab8eb", "volume": "sprite-148f77eb-7fa4-44d8-bcfb-e388e2b2440e", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802614042,1795980802693318,2,NULL);
INSERT INTO "runs" VALUES('01a228cc3a941b8b89473fb639ac','sprite','create','sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"organisation": "5c4fd2ae", "name": "cold", "suffix": "3b33", "machine": "d12a96743e92a7", "volume": "sprite-e6536b5e-1a57-4c92-85af-77f9c1c89fb9", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802709067,1795980802795868,2,NULL);
INSERT INTO "runs" VALUES('01a228cc3af08684aa0a4ba531f4','sprite','checkpoint','sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802800296,1795980802813468,1,NULL);
INSERT INTO "runs" VALUES('01a228cc3b04cd5e96d4a4366813','sprite','stop','sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802821046,1795980802838704,1,NULL);
INSERT INTO "runs" VALUES('01a228cc3b28184f42b2bf11c8bb','volume','create','vol_047662cf8ffd0a9e','{"app": "ff1ab1a5f4bfe61d", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795980802856246, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795980802856355,1795980802864279,1,NULL);
INSERT INTO "runs" VALUES('01a228cc3b3db9f4dd3e14a07125','sprite','fork_many','sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','{"checkpoint": "v1", "forks": [{"sprite": "sprite-920c5608-77f6-417a-92eb-71d3714a3fb2", "create": {"organisation": "5c4fd2ae", "name": "copy-a", "suffix": "aa0c", "machine": "27c6df6d826be0", "volume": "sprite-0beee71a-8226-4ad3-8101-595e8b63318d", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}, {"sprite": "sprite-53cbfb37-8def-4702-a843-d80ea2679372", "create": {"organisation": "5c4fd2ae", "name": "copy-b", "suffix": "c543", "machine": "841a3dcb857dce", "volume": "sprite-58bdd69e-419f-481a-9f62-611069bc599f", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}]}','["save", "create", "prune"]',NULL,1795980802877493,NULL,1,NULL);
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
INSERT INTO "schema_version" VALUES(21);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null', privileges TEXT NOT NULL DEFAULT '{}',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','5c4fd2ae','web','d145','d29e8fa3cab8eb','sprite-148f77eb-7fa4-44d8-bcfb-e388e2b2440e','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795980802619285,1795980802804605,1795980802672356,NULL,'{"cold_after_s":60.0}','null','{"profile":"","devices":[],"no_new_privileges":false}');
INSERT INTO "sprites" VALUES('sprite-9cbb2cfa-3cb0-4470-a08d-5b4e34ea8ad0','5c4fd2ae','cold','3b33','d12a96743e92a7','sprite-e6536b5e-1a57-4c92-85af-77f9c1c89fb9','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795980802743013,1795980802848021,1795980802785457,NULL,'{}','{"status":"cold","at_us":1795980802831240,"why":"asked for"}','{"profile":"minimal","devices":[],"no_new_privileges":false}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('0f9a08ae2482','5c4fd2ae','df56ae9f9e4e90750a594f3a08fba36cdde20d9d3d560265d0d604d7c333ee50','test',1795980802300944,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('6f88e7ca8503','5c4fd2ae','96cd23749244d431719885e9401a91943aa4e01345da7858d6265aae65e5dac3','',1795980802851046,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a228cc38a600a1ce9744e21dc8','archive',1,1,NULL,'{"path": "/tmp/tmps7bhh4b7/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795980802249274,1);
INSERT INTO "transitions" VALUES('01a228cc38a600a1ce9744e21dc8','fill',1,1,NULL,'null',1795980802273254,1);
INSERT INTO "transitions" VALUES('01a228cc38a600a1ce9744e21dc8','seal',1,1,NULL,'null',1795980802273494,1);
INSERT INTO "transitions" VALUES('01a228cc38a600a1ce9744e21dc8','publish',1,1,NULL,'null',1795980802288429,1);
INSERT INTO "transitions" VALUES('01a228cc38a600a1ce9744e21dc8','retire',1,1,NULL,'null',1795980802288615,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','record',1,1,NULL,'null',1795980802624761,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','disk',1,1,NULL,'null',1795980802625764,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','machine',1,1,NULL,'null',1795980802632021,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','join',1,1,NULL,'null',1795980802632159,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795980802646935,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','world',1,1,NULL,'{"was": "none"}',1795980802672102,1);
INSERT INTO "transitions" VALUES('01a228cc3a35a5de6e3e3b5b45af','publish',1,1,NULL,'null',1795980802688860,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','record',1,1,NULL,'null',1795980802752985,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','disk',1,1,NULL,'null',1795980802754313,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','machine',1,1,NULL,'null',1795980802765309,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','join',1,1,NULL,'null',1795980802765478,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795980802769573,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','world',1,1,NULL,'{"was": "none"}',1795980802785207,1);
INSERT INTO "transitions" VALUES('01a228cc3a941b8b89473fb639ac','publish',1,1,NULL,'null',1795980802792916,1);
INSERT INTO "transitions" VALUES('01a228cc3af08684aa0a4ba531f4','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795980802802955,1);
INSERT INTO "transitions" VALUES('01a228cc3af08684aa0a4ba531f4','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795980802804228}',1795980802804251,1);
INSERT INTO "transitions" VALUES('01a228cc3af08684aa0a4ba531f4','publish',1,1,NULL,'null',1795980802808792,1);
INSERT INTO "transitions" VALUES('01a228cc3b04cd5e96d4a4366813','down',1,1,NULL,'null',1795980802830863,1);
INSERT INTO "transitions" VALUES('01a228cc3b04cd5e96d4a4366813','detach',1,1,NULL,'null',1795980802831176,1);
INSERT INTO "transitions" VALUES('01a228cc3b04cd5e96d4a4366813','publish',1,1,NULL,'null',1795980802831406,1);
INSERT INTO "transitions" VALUES('01a228cc3b28184f42b2bf11c8bb','record',1,1,NULL,'null',1795980802858615,1);
INSERT INTO "transitions" VALUES('01a228cc3b28184f42b2bf11c8bb','disk',1,1,NULL,'null',1795980802859105,1);
INSERT INTO "transitions" VALUES('01a228cc3b28184f42b2bf11c8bb','ready',1,1,NULL,'null',1795980802859536,1);
CREATE TABLE usage_counters (
        sprite TEXT PRIMARY KEY, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL);
INSERT INTO "usage_counters" VALUES('sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460',7,8,9);
CREATE TABLE usage_days (
        day TEXT NOT NULL, sprite TEXT NOT NULL, organisation TEXT NOT NULL, name TEXT NOT NULL,
        awake_us BIGINT NOT NULL, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL,
        disk_bytes BIGINT NOT NULL, PRIMARY KEY (day, sprite));
INSERT INTO "usage_days" VALUES('2026-11-29','sprite-72dd6ba7-c7af-4d7b-8100-f23e79212460','5c4fd2ae','web',60000000,7,8,9,0);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('a91fe34a773bc68e','5c4fd2ae','https://receiver.example/','Lw_lWaH3tJ5U0xLvLpIqFH4CfPlST-xD9D1Yq7stEfJO5j8APubEYMiLupQHDUmLXKGoGNiUvrnzXFDd8z01rnm1bCh8kWZzePzuRoiB',NULL,'[]','',1795980802872768,21,0,NULL,0,NULL,NULL,NULL);
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
