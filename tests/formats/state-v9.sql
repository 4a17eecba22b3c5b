BEGIN TRANSACTION;
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "apps" VALUES('fdfd76c1689c3448','a7a36930','shop','default',1795953136074471);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953134763696);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','v1',1,NULL,'kept',0,1,1.5,1795953135422766);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953134735417,'prepare.begun','base/minimal','{"run": "01a227260c8f605f37d58cd9a83c"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953134766198,'prepare.decided','base/minimal','{"run": "01a227260c8f605f37d58cd9a83c", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953134775498,'token.issued','token/2f45c28be4f7','{"organisation": "local", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953134984271,'create.begun','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"run": "01a227260d883ab37cffcea6f713"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953134999189,'sprite.recorded','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"name": "web"}','a7a36930','web');
INSERT INTO "events" VALUES(6,1795953135088650,'create.decided','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"run": "01a227260d883ab37cffcea6f713", "ending": "done", "error": null}','a7a36930','web');
INSERT INTO "events" VALUES(7,1795953135234682,'create.begun','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"run": "01a227260e82d3db11e212fecdc5"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953135235829,'sprite.recorded','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"name": "cold"}','a7a36930','cold');
INSERT INTO "events" VALUES(9,1795953135277166,'create.decided','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"run": "01a227260e82d3db11e212fecdc5", "ending": "done", "error": null}','a7a36930','cold');
INSERT INTO "events" VALUES(10,1795953135391037,'checkpoint.begun','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"run": "01a227260f1eb64f12a01bd85070"}','a7a36930','web');
INSERT INTO "events" VALUES(11,1795953135423188,'checkpoint.published','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"checkpoint": "v1"}','a7a36930','web');
INSERT INTO "events" VALUES(12,1795953135424595,'checkpoint.decided','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"run": "01a227260f1eb64f12a01bd85070", "ending": "done", "error": null}','a7a36930','web');
INSERT INTO "events" VALUES(13,1795953135584565,'stop.begun','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"run": "01a227260fe0a6e43a37d7944fca"}','a7a36930','cold');
INSERT INTO "events" VALUES(14,1795953135590961,'sprite.cold','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"why": "asked for"}','a7a36930','cold');
INSERT INTO "events" VALUES(15,1795953135591290,'stop.decided','sprite/sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"run": "01a227260fe0a6e43a37d7944fca", "ending": "done", "error": null}','a7a36930','cold');
INSERT INTO "events" VALUES(16,1795953135697299,'hold.put','sprite/sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"hold": "build", "expires_us": null}','a7a36930','web');
INSERT INTO "events" VALUES(17,1795953135996784,'token.issued','token/0bd876f3d225','{"organisation": "local", "description": ""}',NULL,NULL);
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
INSERT INTO "holds" VALUES('sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','build',1795953135697064,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('e36074507d35df','container',131072,1795953135012361,536870912,2);
INSERT INTO "machines" VALUES('38f3a4ea107d8b','container',196608,1795953135237561,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('a7a36930','local',1795953134772997);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a227260c8f605f37d58cd9a83c','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953134735337,1795953134770516,1,NULL);
INSERT INTO "runs" VALUES('01a227260d883ab37cffcea6f713','sprite','create','sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"organisation": "a7a36930", "name": "web", "suffix": "4704", "machine": "e36074507d35df", "volume": "sprite-42c3e394-4a19-401c-8bdc-59c22d2f7479", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953134984235,1795953135108899,2,NULL);
INSERT INTO "runs" VALUES('01a227260e82d3db11e212fecdc5','sprite','create','sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"organisation": "a7a36930", "name": "cold", "suffix": "e92a", "machine": "38f3a4ea107d8b", "volume": "sprite-e337da9d-402f-49c4-afd4-90120c3f8ad5", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953135234653,1795953135280094,2,NULL);
INSERT INTO "runs" VALUES('01a227260f1eb64f12a01bd85070','sprite','checkpoint','sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953135391005,1795953135429520,1,NULL);
INSERT INTO "runs" VALUES('01a227260fe0a6e43a37d7944fca','sprite','stop','sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953135584532,1795953135593876,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-91b35c11-89d2-4d1b-a252-e5e8345d037f','a7a36930','web','4704','e36074507d35df','sprite-42c3e394-4a19-401c-8bdc-59c22d2f7479','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953134986021,1795953135423220,1795953135035457,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-2b9a9466-a534-4bf5-b188-e7fd464d283b','a7a36930','cold','e92a','38f3a4ea107d8b','sprite-e337da9d-402f-49c4-afd4-90120c3f8ad5','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953135235759,1795953135590889,1795953135253728,NULL,'{}','{"status":"cold","at_us":1795953135590864,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('2f45c28be4f7','a7a36930','8be264eec7dde266553616b5d1647c09cbcf0fbe8d76966c86925451edb2897c','test',1795953134775431,NULL);
INSERT INTO "tokens" VALUES('0bd876f3d225','a7a36930','21097513f6732ffd3715b3ff9c9a8f71ebb3ae7773fa45a45f51141e6b615322','',1795953135996745,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a227260c8f605f37d58cd9a83c','archive',1,1,NULL,'{"path": "/tmp/tmpylcglhtn/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953134758008,1);
INSERT INTO "transitions" VALUES('01a227260c8f605f37d58cd9a83c','fill',1,1,NULL,'null',1795953134763253,1);
INSERT INTO "transitions" VALUES('01a227260c8f605f37d58cd9a83c','seal',1,1,NULL,'null',1795953134763576,1);
INSERT INTO "transitions" VALUES('01a227260c8f605f37d58cd9a83c','publish',1,1,NULL,'null',1795953134765785,1);
INSERT INTO "transitions" VALUES('01a227260c8f605f37d58cd9a83c','retire',1,1,NULL,'null',1795953134765912,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','record',1,1,NULL,'null',1795953135000953,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','disk',1,1,NULL,'null',1795953135004978,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','machine',1,1,NULL,'null',1795953135025211,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953135029712,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','world',1,1,NULL,'{"was": "none"}',1795953135035303,1);
INSERT INTO "transitions" VALUES('01a227260d883ab37cffcea6f713','publish',1,1,NULL,'null',1795953135061135,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','record',1,1,NULL,'null',1795953135236350,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','disk',1,1,NULL,'null',1795953135237190,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','machine',1,1,NULL,'null',1795953135240774,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953135246392,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','world',1,1,NULL,'{"was": "none"}',1795953135253578,1);
INSERT INTO "transitions" VALUES('01a227260e82d3db11e212fecdc5','publish',1,1,NULL,'null',1795953135276869,1);
INSERT INTO "transitions" VALUES('01a227260f1eb64f12a01bd85070','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953135421866,1);
INSERT INTO "transitions" VALUES('01a227260f1eb64f12a01bd85070','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953135422766}',1795953135422796,1);
INSERT INTO "transitions" VALUES('01a227260f1eb64f12a01bd85070','publish',1,1,NULL,'null',1795953135424346,1);
INSERT INTO "transitions" VALUES('01a227260fe0a6e43a37d7944fca','down',1,1,NULL,'null',1795953135590527,1);
INSERT INTO "transitions" VALUES('01a227260fe0a6e43a37d7944fca','detach',1,1,NULL,'null',1795953135590794,1);
INSERT INTO "transitions" VALUES('01a227260fe0a6e43a37d7944fca','publish',1,1,NULL,'null',1795953135591060,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',17);
COMMIT;
