BEGIN TRANSACTION;
CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE);
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('09bc6642c4880790','36573571','shop','default',1795977567167469,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795977566423173);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, name TEXT, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-1a85558f-9178-40cd-becd-69fc66b0afba','v1',1,NULL,'kept',0,1,1.5,1795977567102163,'ready');
CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host));
CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795977566344166,'prepare.begun','base/minimal','{"run": "01a2289ad8876b9d6257a8bf4972"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795977566433409,'prepare.decided','base/minimal','{"run": "01a2289ad8876b9d6257a8bf4972", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795977566491826,'token.issued','token/11d194c65b3b','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795977566818268,'create.begun','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"run": "01a2289ada616ca9333bc5a2d488"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795977566839135,'sprite.recorded','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"name": "web"}','36573571','web');
INSERT INTO "events" VALUES(6,1795977566929612,'create.decided','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"run": "01a2289ada616ca9333bc5a2d488", "ending": "done", "error": null}','36573571','web');
INSERT INTO "events" VALUES(7,1795977566990023,'create.begun','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"run": "01a2289adb0d1f1605f2d8324a3a"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795977566992745,'sprite.recorded','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"name": "cold"}','36573571','cold');
INSERT INTO "events" VALUES(9,1795977567059556,'create.decided','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"run": "01a2289adb0d1f1605f2d8324a3a", "ending": "done", "error": null}','36573571','cold');
INSERT INTO "events" VALUES(10,1795977567077908,'checkpoint.begun','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"run": "01a2289adb659d6c9b226d07558b"}','36573571','web');
INSERT INTO "events" VALUES(11,1795977567103108,'checkpoint.published','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"checkpoint": "v1"}','36573571','web');
INSERT INTO "events" VALUES(12,1795977567107271,'checkpoint.decided','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"run": "01a2289adb659d6c9b226d07558b", "ending": "done", "error": null}','36573571','web');
INSERT INTO "events" VALUES(13,1795977567135055,'stop.begun','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"run": "01a2289adb9ead9943438219ecd3"}','36573571','cold');
INSERT INTO "events" VALUES(14,1795977567141806,'sprite.cold','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"why": "asked for"}','36573571','cold');
INSERT INTO "events" VALUES(15,1795977567142368,'stop.decided','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"run": "01a2289adb9ead9943438219ecd3", "ending": "done", "error": null}','36573571','cold');
INSERT INTO "events" VALUES(16,1795977567148534,'hold.put','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"hold": "build", "expires_us": null}','36573571','web');
INSERT INTO "events" VALUES(17,1795977567157413,'sprite.privileges','sprite/sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"privileges": {"profile": "minimal", "devices": [], "no_new_privileges": false}}','36573571','cold');
INSERT INTO "events" VALUES(18,1795977567163212,'token.issued','token/994fc02db04d','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795977567172204,'create.begun','volume/vol_d5f56426add2c6bd','{"run": "01a2289adbc4b0778581ea0db59c"}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795977567174782,'volume.recorded','volume/vol_d5f56426add2c6bd','{}',NULL,NULL);
INSERT INTO "events" VALUES(21,1795977567179217,'create.decided','volume/vol_d5f56426add2c6bd','{"run": "01a2289adbc4b0778581ea0db59c", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(22,1795977567195355,'webhook.created','webhook/f520da46935eb511','{}','36573571',NULL);
INSERT INTO "events" VALUES(23,1795977567199092,'checkpoint.renamed','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"checkpoint": "v1", "name": "ready"}','36573571','web');
INSERT INTO "events" VALUES(24,1795977567201953,'fork_many.begun','sprite/sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"run": "01a2289adbe178dee23644d332c2"}','36573571','web');
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
INSERT INTO "fly_secrets" VALUES('09bc6642c4880790','key','Nj9mdPzhj5vhHgDQHAb2Fk1VKwGqnINyCE5QdWoIXXEgQA==','833b1eb9dee49d47',1795977567190555,1795977567190555);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_d5f56426add2c6bd','09bc6642c4880790','data','local','created',1,NULL,5,1795977567172024);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-1a85558f-9178-40cd-becd-69fc66b0afba','build',1795977567148250,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2, pids BIGINT NOT NULL DEFAULT 4096);
INSERT INTO "machines" VALUES('f51a94a302c10c','container',131072,1795977566852022,536870912,2,4096);
INSERT INTO "machines" VALUES('40ae2e7b9afe59','container',196608,1795977567013351,2147483648,2,4096);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT, authority TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('36573571','local',1795977566490217);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a2289ad8876b9d6257a8bf4972','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977566344103,1795977566488914,1,NULL);
INSERT INTO "runs" VALUES('01a2289ada616ca9333bc5a2d488','sprite','create','sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"organisation": "36573571", "name": "web", "suffix": "44fa", "machine": "f51a94a302c10c", "volume": "sprite-3a4ed065-8f9b-4652-9d95-6f73e30b82c9", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977566818149,1795977566953105,2,NULL);
INSERT INTO "runs" VALUES('01a2289adb0d1f1605f2d8324a3a','sprite','create','sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"organisation": "36573571", "name": "cold", "suffix": "7874", "machine": "40ae2e7b9afe59", "volume": "sprite-f886debe-99cc-4024-ae91-e91ce25d6194", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}','["record", "disk", "machine", "join", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977566989970,1795977567060294,2,NULL);
INSERT INTO "runs" VALUES('01a2289adb659d6c9b226d07558b','sprite','checkpoint','sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"comment": "kept", "name": null}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977567077877,1795977567115328,1,NULL);
INSERT INTO "runs" VALUES('01a2289adb9ead9943438219ecd3','sprite','stop','sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977567134879,1795977567143090,1,NULL);
INSERT INTO "runs" VALUES('01a2289adbc4b0778581ea0db59c','volume','create','vol_d5f56426add2c6bd','{"app": "09bc6642c4880790", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795977567172024, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795977567172163,1795977567187298,1,NULL);
INSERT INTO "runs" VALUES('01a2289adbe178dee23644d332c2','sprite','fork_many','sprite-1a85558f-9178-40cd-becd-69fc66b0afba','{"checkpoint": "v1", "forks": [{"sprite": "sprite-f065f808-1975-499d-a787-2c2a6ff9696a", "create": {"organisation": "36573571", "name": "copy-a", "suffix": "2d18", "machine": "69fdbb8b8e59ab", "volume": "sprite-9ea8d70b-6286-49e7-946e-44e863103afc", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-1a85558f-9178-40cd-becd-69fc66b0afba", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}, {"sprite": "sprite-7a7aaed8-bed6-4286-9563-0cac5435fdc2", "create": {"organisation": "36573571", "name": "copy-b", "suffix": "ec70", "machine": "2304a9941dff94", "volume": "sprite-131089d0-6333-4da7-ac83-66cfef57eded", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": {"type": "fork", "sprite": "sprite-1a85558f-9178-40cd-becd-69fc66b0afba", "checkpoint": "v1"}, "claimed": null, "joins": null, "privileges": {"profile": "", "devices": [], "no_new_privileges": false}}}]}','["save", "create", "prune"]',NULL,1795977567201916,NULL,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null', privileges TEXT NOT NULL DEFAULT '{}',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-1a85558f-9178-40cd-becd-69fc66b0afba','36573571','web','44fa','f51a94a302c10c','sprite-3a4ed065-8f9b-4652-9d95-6f73e30b82c9','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795977566836942,1795977567103159,1795977566917808,NULL,'{"cold_after_s":60.0}','null','{"profile":"","devices":[],"no_new_privileges":false}');
INSERT INTO "sprites" VALUES('sprite-167783d1-d2ef-4147-a5d8-ee0284cfa24b','36573571','cold','7874','40ae2e7b9afe59','sprite-f886debe-99cc-4024-ae91-e91ce25d6194','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795977566992579,1795977567157308,1795977567057606,NULL,'{}','{"status":"cold","at_us":1795977567141647,"why":"asked for"}','{"profile":"minimal","devices":[],"no_new_privileges":false}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('11d194c65b3b','36573571','db396c5a4ff0e22761bd6b90517c22b032f0f21976c6801d555ac26fef7bfced','test',1795977566491253,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('994fc02db04d','36573571','1ce3accdeea83ff013186a580613d7bcab6be78f13d78b1dd24be863e65f6ce6','',1795977567163164,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a2289ad8876b9d6257a8bf4972','archive',1,1,NULL,'{"path": "/tmp/tmp3uro18ki/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795977566374037,1);
INSERT INTO "transitions" VALUES('01a2289ad8876b9d6257a8bf4972','fill',1,1,NULL,'null',1795977566422815,1);
INSERT INTO "transitions" VALUES('01a2289ad8876b9d6257a8bf4972','seal',1,1,NULL,'null',1795977566423070,1);
INSERT INTO "transitions" VALUES('01a2289ad8876b9d6257a8bf4972','publish',1,1,NULL,'null',1795977566433033,1);
INSERT INTO "transitions" VALUES('01a2289ad8876b9d6257a8bf4972','retire',1,1,NULL,'null',1795977566433181,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','record',1,1,NULL,'null',1795977566841400,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','disk',1,1,NULL,'null',1795977566851257,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','machine',1,1,NULL,'null',1795977566862424,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','join',1,1,NULL,'null',1795977566862549,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795977566864528,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','world',1,1,NULL,'{"was": "none"}',1795977566917571,1);
INSERT INTO "transitions" VALUES('01a2289ada616ca9333bc5a2d488','publish',1,1,NULL,'null',1795977566929281,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','record',1,1,NULL,'null',1795977566993450,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','disk',1,1,NULL,'null',1795977567012553,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','machine',1,1,NULL,'null',1795977567022841,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','join',1,1,NULL,'null',1795977567023022,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795977567027858,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','world',1,1,NULL,'{"was": "none"}',1795977567057412,1);
INSERT INTO "transitions" VALUES('01a2289adb0d1f1605f2d8324a3a','publish',1,1,NULL,'null',1795977567059342,1);
INSERT INTO "transitions" VALUES('01a2289adb659d6c9b226d07558b','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795977567085856,1);
INSERT INTO "transitions" VALUES('01a2289adb659d6c9b226d07558b','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795977567102163}',1795977567102267,1);
INSERT INTO "transitions" VALUES('01a2289adb659d6c9b226d07558b','publish',1,1,NULL,'null',1795977567106935,1);
INSERT INTO "transitions" VALUES('01a2289adb9ead9943438219ecd3','down',1,1,NULL,'null',1795977567141128,1);
INSERT INTO "transitions" VALUES('01a2289adb9ead9943438219ecd3','detach',1,1,NULL,'null',1795977567141520,1);
INSERT INTO "transitions" VALUES('01a2289adb9ead9943438219ecd3','publish',1,1,NULL,'null',1795977567141935,1);
INSERT INTO "transitions" VALUES('01a2289adbc4b0778581ea0db59c','record',1,1,NULL,'null',1795977567175908,1);
INSERT INTO "transitions" VALUES('01a2289adbc4b0778581ea0db59c','disk',1,1,NULL,'null',1795977567177582,1);
INSERT INTO "transitions" VALUES('01a2289adbc4b0778581ea0db59c','ready',1,1,NULL,'null',1795977567178979,1);
CREATE TABLE usage_counters (
        sprite TEXT PRIMARY KEY, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL);
INSERT INTO "usage_counters" VALUES('sprite-1a85558f-9178-40cd-becd-69fc66b0afba',7,8,9);
CREATE TABLE usage_days (
        day TEXT NOT NULL, sprite TEXT NOT NULL, organisation TEXT NOT NULL, name TEXT NOT NULL,
        awake_us BIGINT NOT NULL, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL,
        disk_bytes BIGINT NOT NULL, PRIMARY KEY (day, sprite));
INSERT INTO "usage_days" VALUES('2026-11-29','sprite-1a85558f-9178-40cd-becd-69fc66b0afba','36573571','web',60000000,7,8,9,0);
CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT);
INSERT INTO "webhooks" VALUES('f520da46935eb511','36573571','https://receiver.example/','sibC3LhVkK68laQcHMAN4Z0j-0nV63dt6L-B7HHNUDy8r11oCqRAw1XF8Cqsqj7O7bf82Zx_kdTrLfOg6yWHbUK04N2FQcT2V_BIHVeH',NULL,'[]','',1795977567194963,21,0,NULL,0,NULL,NULL,NULL);
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
