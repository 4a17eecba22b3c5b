BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('794817dff1b4cf7f','05ee6114','shop','default',1795966122477023,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795966122108138);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','v1',1,NULL,'kept',0,1,1.5,1795966122414329,'ready');
CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host));
CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795966122094509,'prepare.begun','base/minimal','{"run": "01a227ec386e2f694431389769cc"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795966122115476,'prepare.decided','base/minimal','{"run": "01a227ec386e2f694431389769cc", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795966122123586,'token.issued','token/e175b1dc6448','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795966122283498,'create.begun','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"run": "01a227ec392b8b94e3fdee1df25b"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795966122291459,'sprite.recorded','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"name": "web"}','05ee6114','web');
INSERT INTO "events" VALUES(6,1795966122325139,'create.decided','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"run": "01a227ec392b8b94e3fdee1df25b", "ending": "done", "error": null}','05ee6114','web');
INSERT INTO "events" VALUES(7,1795966122349959,'create.begun','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"run": "01a227ec396daaf3b045db972261"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795966122357818,'sprite.recorded','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"name": "cold"}','05ee6114','cold');
INSERT INTO "events" VALUES(9,1795966122393371,'create.decided','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"run": "01a227ec396daaf3b045db972261", "ending": "done", "error": null}','05ee6114','cold');
INSERT INTO "events" VALUES(10,1795966122407654,'checkpoint.begun','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"run": "01a227ec39a704ec803062ccb450"}','05ee6114','web');
INSERT INTO "events" VALUES(11,1795966122414888,'checkpoint.published','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"checkpoint": "v1"}','05ee6114','web');
INSERT INTO "events" VALUES(12,1795966122416077,'checkpoint.decided','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"run": "01a227ec39a704ec803062ccb450", "ending": "done", "error": null}','05ee6114','web');
INSERT INTO "events" VALUES(13,1795966122427387,'stop.begun','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"run": "01a227ec39bb46265dcf59d128e2"}','05ee6114','cold');
INSERT INTO "events" VALUES(14,1795966122434543,'sprite.cold','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"why": "asked for"}','05ee6114','cold');
INSERT INTO "events" VALUES(15,1795966122436812,'stop.decided','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"run": "01a227ec39bb46265dcf59d128e2", "ending": "done", "error": null}','05ee6114','cold');
INSERT INTO "events" VALUES(16,1795966122450174,'hold.put','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"hold": "build", "expires_us": null}','05ee6114','web');
INSERT INTO "events" VALUES(17,1795966122458736,'sprite.privileges','sprite/sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"privileges": {"profile": "minimal", "devices": [], "no_new_privileges": false}}','05ee6114','cold');
INSERT INTO "events" VALUES(18,1795966122469362,'token.issued','token/c59d142e1cbb','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795966122486571,'create.begun','volume/vol_f20d84d10b11e086','{"run": "01a227ec39f62d54ce56ed18743c"}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795966122491940,'volume.recorded','volume/vol_f20d84d10b11e086','{}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795966122496370,'create.decided','volume/vol_f20d84d10b11e086','{"run": "01a227ec39f62d54ce56ed18743c", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(22,1795966122515516,'webhook.created','webhook/472b2240cd336bd2','{}','05ee6114',NULL);
INSERT INTO "events" VALUES(23,1795966122524399,'checkpoint.renamed','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"checkpoint": "v1", "name": "ready"}','05ee6114','web');
INSERT INTO "events" VALUES(24,1795966122531449,'fork_many.begun','sprite/sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"run": "01a227ec3a2398c5c86a2673ffaa"}','05ee6114','web');
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
INSERT INTO "fly_secrets" VALUES('794817dff1b4cf7f','key','IwduxsJ3bca-Pfdi8s7tveDNx5CzpnUYEMElGyibZs1Skw==','6365ed85bb1c003e',1795966122507540,1795966122507540);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_f20d84d10b11e086','794817dff1b4cf7f','data','local','created',1,NULL,5,1795966122486372);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','build',1795966122449839,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('5d7fb838889320','container',131072,1795966122296490,536870912,2,4096);
INSERT INTO "machines" VALUES('5b7d52ea7dfcba','container',196608,1795966122360120,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT, authority TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('05ee6114','local',1795966122121470);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227ec386e2f694431389769cc','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122094419,1795966122120925,1,NULL);
INSERT INTO "runs" VALUES('01a227ec392b8b94e3fdee1df25b','sprite','create','sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"organisation": "05ee6114", "name": "web", "suffix": "71ba", "machine": "5d7fb838889320", "volume": "sprite-27f2859f-8d4c-404c-89ae-54802da10236", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122283447,1795966122336997,2,NULL);
INSERT INTO "runs" VALUES('01a227ec396daaf3b045db972261','sprite','create','sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"organisation": "05ee6114", "name": "cold", "suffix": "ddd6", "machine": "5b7d52ea7dfcba", "volume": "sprite-c596382e-4f85-473e-88e5-5fa779c2eb85", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122349911,1795966122395724,2,NULL);
INSERT INTO "runs" VALUES('01a227ec39a704ec803062ccb450','sprite','checkpoint','sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122407611,1795966122420988,1,NULL);
INSERT INTO "runs" VALUES('01a227ec39bb46265dcf59d128e2','sprite','stop','sprite-952a9f7d-018b-4107-b269-c86469c02bef','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122427350,1795966122438119,1,NULL);
INSERT INTO "runs" VALUES('01a227ec39f62d54ce56ed18743c','volume','create','vol_f20d84d10b11e086','{"app": "794817dff1b4cf7f", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795966122486372, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795966122486531,1795966122496935,1,NULL);
INSERT INTO "runs" VALUES('01a227ec3a2398c5c86a2673ffaa','sprite','fork_many','sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','{"checkpoint": "v1", "forks": [{"sprite": "sprite-96cbafcb-e9f8-46b9-92d9-7c4b86d99aef", "create": {"organisation": "05ee6114", "name": "copy-a", "suffix": "fbbd", "machine": "9f1ff61a7cdca5", "volume": "sprite-55c3c002-2310-449a-b77a-2e009b1a343b", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}, {"sprite": "sprite-1b25aa29-4349-4c68-9ae3-93086c62978b", "create": {"organisation": "05ee6114", "name": "copy-b", "suffix": "220e", "machine": "0b51c71887c606", "volume": "sprite-53db9430-240f-4924-bcad-94778f82fde6", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}]}','["save", "create", "prune"]',NULL,1795966122531415,NULL,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null', privileges TEXT NOT NULL DEFAULT '{}',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-a481dd87-eb3c-47cf-94d2-6dc3558615fe','05ee6114','web','71ba','5d7fb838889320','sprite-27f2859f-8d4c-404c-89ae-54802da10236','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795966122291221,1795966122414932,1795966122322731,NULL,'{"cold_after_s":60.0}','null','{"profile":"","devices":[],"no_new_privileges":false}');
INSERT INTO "sprites" VALUES('sprite-952a9f7d-018b-4107-b269-c86469c02bef','05ee6114','cold','ddd6','5b7d52ea7dfcba','sprite-c596382e-4f85-473e-88e5-5fa779c2eb85','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795966122357719,1795966122458615,1795966122389804,NULL,'{}','{"status":"cold","at_us":1795966122434407,"why":"asked for"}','{"profile":"minimal","devices":[],"no_new_privileges":false}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('e175b1dc6448','05ee6114','753f8fc70d2f559ea5a0ec84bb050012ae1ce53cd1348856d531c273ed602dda','test',1795966122123482,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('c59d142e1cbb','05ee6114','f16ee9911ff9a9dacecbca517eeeb3950cb055eb3d50dab1d48f2262836110aa','',1795966122469284,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227ec386e2f694431389769cc','archive',1,1,NULL,'{"path": "/tmp/tmpkeql3un2/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795966122098977,1);
INSERT INTO "transitions" VALUES('01a227ec386e2f694431389769cc','fill',1,1,NULL,'null',1795966122107742,1);
INSERT INTO "transitions" VALUES('01a227ec386e2f694431389769cc','seal',1,1,NULL,'null',1795966122108019,1);
INSERT INTO "transitions" VALUES('01a227ec386e2f694431389769cc','publish',1,1,NULL,'null',1795966122114929,1);
INSERT INTO "transitions" VALUES('01a227ec386e2f694431389769cc','retire',1,1,NULL,'null',1795966122115146,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','record',1,1,NULL,'null',1795966122292815,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','disk',1,1,NULL,'null',1795966122295481,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','machine',1,1,NULL,'null',1795966122305411,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','join',1,1,NULL,'null',1795966122305607,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795966122308186,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','world',1,1,NULL,'{"was": "none"}',1795966122322436,1);
INSERT INTO "transitions" VALUES('01a227ec392b8b94e3fdee1df25b','publish',1,1,NULL,'null',1795966122324810,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','record',1,1,NULL,'null',1795966122358958,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','disk',1,1,NULL,'null',1795966122359824,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','machine',1,1,NULL,'null',1795966122373214,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','join',1,1,NULL,'null',1795966122373371,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795966122380208,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','world',1,1,NULL,'{"was": "none"}',1795966122389529,1);
INSERT INTO "transitions" VALUES('01a227ec396daaf3b045db972261','publish',1,1,NULL,'null',1795966122392924,1);
INSERT INTO "transitions" VALUES('01a227ec39a704ec803062ccb450','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795966122413098,1);
INSERT INTO "transitions" VALUES('01a227ec39a704ec803062ccb450','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795966122414329}',1795966122414369,1);
INSERT INTO "transitions" VALUES('01a227ec39a704ec803062ccb450','publish',1,1,NULL,'null',1795966122415847,1);
INSERT INTO "transitions" VALUES('01a227ec39bb46265dcf59d128e2','down',1,1,NULL,'null',1795966122433906,1);
INSERT INTO "transitions" VALUES('01a227ec39bb46265dcf59d128e2','detach',1,1,NULL,'null',1795966122434287,1);
INSERT INTO "transitions" VALUES('01a227ec39bb46265dcf59d128e2','publish',1,1,NULL,'null',1795966122434645,1);
INSERT INTO "transitions" VALUES('01a227ec39f62d54ce56ed18743c','record',1,1,NULL,'null',1795966122494135,1);
INSERT INTO "transitions" VALUES('01a227ec39f62d54ce56ed18743c','disk',1,1,NULL,'null',1795966122494680,1);
INSERT INTO "transitions" VALUES('01a227ec39f62d54ce56ed18743c','ready',1,1,NULL,'null',1795966122496097,1);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('472b2240cd336bd2','05ee6114','https://receiver.example/','Vv1sqjzDmb7MCD3xTDcLvIxdTtlOIQ-pivoL1xHaOagxdL_kkMXfGig157mET9Bfz7sVU6Ctv9j1fIwtk_F_6lR7UqQJKgBri9cZFYSm',NULL,'[]','',1795966122515149,21,0,NULL,0,NULL,NULL,NULL);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
CREATE INDEX sprites_by_machine ON sprites (machine);
CREATE UNIQUE INDEX checkpoint_names ON checkpoints (sprite, name) WHERE name IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',24);
COMMIT;
