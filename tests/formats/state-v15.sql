BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('5957f990390fda14','0888258f','shop','default',1795954009581498,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795954009288515);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','v1',1,NULL,'kept',0,1,1.5,1795954009533529);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795954009273903,'prepare.begun','base/minimal','{"run": "01a2273364b97934fe63e0184145"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795954009289966,'prepare.decided','base/minimal','{"run": "01a2273364b97934fe63e0184145", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795954009304752,'token.issued','token/080f54dfcd83','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795954009441230,'create.begun','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"run": "01a22733656100b748d972301a81"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795954009446379,'sprite.recorded','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"name": "web"}','0888258f','web');
INSERT INTO "events" VALUES(6,1795954009468962,'create.decided','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"run": "01a22733656100b748d972301a81", "ending": "done", "error": null}','0888258f','web');
INSERT INTO "events" VALUES(7,1795954009476412,'create.begun','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"run": "01a2273365845c69cd19cd55c338"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795954009480889,'sprite.recorded','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"name": "cold"}','0888258f','cold');
INSERT INTO "events" VALUES(9,1795954009505076,'create.decided','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"run": "01a2273365845c69cd19cd55c338", "ending": "done", "error": null}','0888258f','cold');
INSERT INTO "events" VALUES(10,1795954009518453,'checkpoint.begun','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"run": "01a2273365aeedb53759c8e5af12"}','0888258f','web');
INSERT INTO "events" VALUES(11,1795954009533968,'checkpoint.published','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"checkpoint": "v1"}','0888258f','web');
INSERT INTO "events" VALUES(12,1795954009535085,'checkpoint.decided','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"run": "01a2273365aeedb53759c8e5af12", "ending": "done", "error": null}','0888258f','web');
INSERT INTO "events" VALUES(13,1795954009555545,'stop.begun','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"run": "01a2273365d3c7ed2c999ec882d4"}','0888258f','cold');
INSERT INTO "events" VALUES(14,1795954009563363,'sprite.cold','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"why": "asked for"}','0888258f','cold');
INSERT INTO "events" VALUES(15,1795954009563604,'stop.decided','sprite/sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"run": "01a2273365d3c7ed2c999ec882d4", "ending": "done", "error": null}','0888258f','cold');
INSERT INTO "events" VALUES(16,1795954009574992,'hold.put','sprite/sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"hold": "build", "expires_us": null}','0888258f','web');
INSERT INTO "events" VALUES(17,1795954009578590,'token.issued','token/dccb211e54cb','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795954009589971,'create.begun','volume/vol_865832dd30c06f7c','{"run": "01a2273365f56161e9615f3a78e8"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795954009591915,'volume.recorded','volume/vol_865832dd30c06f7c','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795954009603303,'create.decided','volume/vol_865832dd30c06f7c','{"run": "01a2273365f56161e9615f3a78e8", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795954009624530,'webhook.created','webhook/d66552eeb68ea386','{"url": "https://receiver.example/"}','0888258f',NULL);
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
INSERT INTO "fly_secrets" VALUES('5957f990390fda14','key','SiV41vfn_sS1pmt0gZn3YqHUdDTRwTSbHcJxvtbRV5eDVQ==','6064eeb2bd33e05d',1795954009615950,1795954009615950);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_865832dd30c06f7c','5957f990390fda14','data','local','created',1,NULL,5,1795954009589801);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','build',1795954009574777,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('0ac16aac2e530b','container',131072,1795954009450226,536870912,2,4096);
INSERT INTO "machines" VALUES('bb36000c3a0569','container',196608,1795954009485998,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('0888258f','local',1795954009300898);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2273364b97934fe63e0184145','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009273739,1795954009296864,1,NULL);
INSERT INTO "runs" VALUES('01a22733656100b748d972301a81','sprite','create','sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"organisation": "0888258f", "name": "web", "suffix": "1156", "machine": "0ac16aac2e530b", "volume": "sprite-7f57ea4d-9e8f-49ba-9d41-b225c80202c1", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009441196,1795954009472863,2,NULL);
INSERT INTO "runs" VALUES('01a2273365845c69cd19cd55c338','sprite','create','sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"organisation": "0888258f", "name": "cold", "suffix": "78e4", "machine": "bb36000c3a0569", "volume": "sprite-6d80879a-79eb-4de5-9e18-eea9f6d5aed4", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009476387,1795954009510954,2,NULL);
INSERT INTO "runs" VALUES('01a2273365aeedb53759c8e5af12','sprite','checkpoint','sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009518425,1795954009552933,1,NULL);
INSERT INTO "runs" VALUES('01a2273365d3c7ed2c999ec882d4','sprite','stop','sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009555518,1795954009571061,1,NULL);
INSERT INTO "runs" VALUES('01a2273365f56161e9615f3a78e8','volume','create','vol_865832dd30c06f7c','{"app": "5957f990390fda14", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795954009589801, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795954009589934,1795954009612972,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-5d3665fe-5bff-4ce6-8faf-f870b1b51fbf','0888258f','web','1156','0ac16aac2e530b','sprite-7f57ea4d-9e8f-49ba-9d41-b225c80202c1','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795954009446193,1795954009534002,1795954009465116,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-c95bc299-21fd-4c6f-a83d-7d5c3e6dc9fd','0888258f','cold','78e4','bb36000c3a0569','sprite-6d80879a-79eb-4de5-9e18-eea9f6d5aed4','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795954009480821,1795954009563286,1795954009497024,NULL,'{}','{"status":"cold","at_us":1795954009563260,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('080f54dfcd83','0888258f','85cab1dc67afd0fb7b398724dfaca2444d21eaf1dd9fc6a6dd2580a43b581ddf','test',1795954009304579,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('dccb211e54cb','0888258f','559d9cfe1adbd66e5cd905fddc8a6e50a0b6068326ea5833a8a174875f3472f8','',1795954009578286,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2273364b97934fe63e0184145','archive',1,1,NULL,'{"path": "/tmp/tmpkubxp6fb/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795954009278555,1);
INSERT INTO "transitions" VALUES('01a2273364b97934fe63e0184145','fill',1,1,NULL,'null',1795954009288173,1);
INSERT INTO "transitions" VALUES('01a2273364b97934fe63e0184145','seal',1,1,NULL,'null',1795954009288412,1);
INSERT INTO "transitions" VALUES('01a2273364b97934fe63e0184145','publish',1,1,NULL,'null',1795954009289488,1);
INSERT INTO "transitions" VALUES('01a2273364b97934fe63e0184145','retire',1,1,NULL,'null',1795954009289684,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','record',1,1,NULL,'null',1795954009448779,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','disk',1,1,NULL,'null',1795954009449648,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','machine',1,1,NULL,'null',1795954009453072,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954009454854,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','world',1,1,NULL,'{"was": "none"}',1795954009464973,1);
INSERT INTO "transitions" VALUES('01a22733656100b748d972301a81','publish',1,1,NULL,'null',1795954009468751,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','record',1,1,NULL,'null',1795954009484770,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','disk',1,1,NULL,'null',1795954009485706,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','machine',1,1,NULL,'null',1795954009488917,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795954009490336,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','world',1,1,NULL,'{"was": "none"}',1795954009496897,1);
INSERT INTO "transitions" VALUES('01a2273365845c69cd19cd55c338','publish',1,1,NULL,'null',1795954009504778,1);
INSERT INTO "transitions" VALUES('01a2273365aeedb53759c8e5af12','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795954009532468,1);
INSERT INTO "transitions" VALUES('01a2273365aeedb53759c8e5af12','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795954009533529}',1795954009533560,1);
INSERT INTO "transitions" VALUES('01a2273365aeedb53759c8e5af12','publish',1,1,NULL,'null',1795954009534828,1);
INSERT INTO "transitions" VALUES('01a2273365d3c7ed2c999ec882d4','down',1,1,NULL,'null',1795954009562626,1);
INSERT INTO "transitions" VALUES('01a2273365d3c7ed2c999ec882d4','detach',1,1,NULL,'null',1795954009563178,1);
INSERT INTO "transitions" VALUES('01a2273365d3c7ed2c999ec882d4','publish',1,1,NULL,'null',1795954009563441,1);
INSERT INTO "transitions" VALUES('01a2273365f56161e9615f3a78e8','record',1,1,NULL,'null',1795954009598625,1);
INSERT INTO "transitions" VALUES('01a2273365f56161e9615f3a78e8','disk',1,1,NULL,'null',1795954009599048,1);
INSERT INTO "transitions" VALUES('01a2273365f56161e9615f3a78e8','ready',1,1,NULL,'null',1795954009603054,1);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('d66552eeb68ea386','0888258f','https://receiver.example/','321MzYKlZsgeZQpuEbMTVqgwtKZurgnBpMPhqrQgPVuXzJRtg0TGfVbss805EjJbZvYIdCEHv7JaCVINRZW4UM1UpSqSieXW7tA13l_y',NULL,'[]','',1795954009624247,20,0,NULL,0,NULL,NULL,NULL);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',21);
COMMIT;
