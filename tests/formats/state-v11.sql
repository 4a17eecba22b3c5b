BEGIN TRANSACTION;
CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL, secrets_version BIGINT NOT NULL DEFAULT 0);
INSERT INTO "apps" VALUES('b0a8a5ff52a038e5','c522aec6','shop','default',1795953146489797,1);
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953145691065);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','v1',1,NULL,'kept',0,1,1.5,1795953146036050);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, organisation TEXT, sprite TEXT);
INSERT INTO "events" VALUES(1,1795953145678898,'prepare.begun','base/minimal','{"run": "01a22726374e1d38c45779ee20b9"}',NULL,NULL);
INSERT INTO "events" VALUES(2,1795953145697623,'prepare.decided','base/minimal','{"run": "01a22726374e1d38c45779ee20b9", "ending": "done", "error": null}',NULL,NULL);
INSERT INTO "events" VALUES(3,1795953145701092,'token.issued','token/e3f1473fef0f','{"organisation": "local", "name": "", "role": "admin", "description": "test"}',NULL,NULL);
INSERT INTO "events" VALUES(4,1795953145795482,'create.begun','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"run": "01a2272637c33d32757a1289813e"}',NULL,NULL);
INSERT INTO "events" VALUES(5,1795953145805266,'sprite.recorded','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"name": "web"}','c522aec6','web');
INSERT INTO "events" VALUES(6,1795953145857189,'create.decided','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"run": "01a2272637c33d32757a1289813e", "ending": "done", "error": null}','c522aec6','web');
INSERT INTO "events" VALUES(7,1795953145924101,'create.begun','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"run": "01a2272638439880c5b16a5e689e"}',NULL,NULL);
INSERT INTO "events" VALUES(8,1795953145932972,'sprite.recorded','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"name": "cold"}','c522aec6','cold');
INSERT INTO "events" VALUES(9,1795953145960052,'create.decided','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"run": "01a2272638439880c5b16a5e689e", "ending": "done", "error": null}','c522aec6','cold');
INSERT INTO "events" VALUES(10,1795953146028361,'checkpoint.begun','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"run": "01a2272638acd42c67ef1bae501e"}','c522aec6','web');
INSERT INTO "events" VALUES(11,1795953146036456,'checkpoint.published','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"checkpoint": "v1"}','c522aec6','web');
INSERT INTO "events" VALUES(12,1795953146038740,'checkpoint.decided','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"run": "01a2272638acd42c67ef1bae501e", "ending": "done", "error": null}','c522aec6','web');
INSERT INTO "events" VALUES(13,1795953146146777,'stop.begun','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"run": "01a227263922852535168acedd54"}','c522aec6','cold');
INSERT INTO "events" VALUES(14,1795953146166964,'sprite.cold','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"why": "asked for"}','c522aec6','cold');
INSERT INTO "events" VALUES(15,1795953146167198,'stop.decided','sprite/sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"run": "01a227263922852535168acedd54", "ending": "done", "error": null}','c522aec6','cold');
INSERT INTO "events" VALUES(16,1795953146245040,'hold.put','sprite/sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"hold": "build", "expires_us": null}','c522aec6','web');
INSERT INTO "events" VALUES(17,1795953146404916,'token.issued','token/fbf8a752f65d','{"organisation": "local", "name": "reader", "role": "read", "description": ""}',NULL,NULL);
INSERT INTO "events" VALUES(18,1795953146561449,'create.begun','volume/vol_ce5e8bdea9cc6f69','{"run": "01a227263ac120aa2ddc8af8de67"}',NULL,NULL);
INSERT INTO "events" VALUES(19,1795953146562846,'volume.recorded','volume/vol_ce5e8bdea9cc6f69','{}',NULL,NULL);
INSERT INTO "events" VALUES(20,1795953146564380,'create.decided','volume/vol_ce5e8bdea9cc6f69','{"run": "01a227263ac120aa2ddc8af8de67", "ending": "done", "error": null}',NULL,NULL);
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
INSERT INTO "fly_secrets" VALUES('b0a8a5ff52a038e5','key','iw88KS07kE3_BkBFjdd650pVvixGH27xlo83EbaHblMb5g==','0ea058a61a2fd6b7',1795953146618170,1795953146618170);
CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version));
CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "fly_volumes" VALUES('vol_ce5e8bdea9cc6f69','b0a8a5ff52a038e5','data','local','created',1,NULL,5,1795953146561254);
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','build',1795953146244886,NULL);
CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('9e46aa90d8c450','container',131072,1795953145820432,536870912,2);
INSERT INTO "machines" VALUES('485404a53cb835','container',196608,1795953145944367,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL, private TEXT);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('c522aec6','local',1795953145700305);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a22726374e1d38c45779ee20b9','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953145678841,1795953145699931,1,NULL);
INSERT INTO "runs" VALUES('01a2272637c33d32757a1289813e','sprite','create','sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"organisation": "c522aec6", "name": "web", "suffix": "c08a", "machine": "9e46aa90d8c450", "volume": "sprite-3b0754ec-218e-45b8-b2b6-9bc8268f1769", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "lifecycle": {"cold_after_s": 60.0}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953145795453,1795953145859522,2,NULL);
INSERT INTO "runs" VALUES('01a2272638439880c5b16a5e689e','sprite','create','sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"organisation": "c522aec6", "name": "cold", "suffix": "0980", "machine": "485404a53cb835", "volume": "sprite-b29ec61b-2f97-4757-a8e2-800b7a02b066", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953145924064,1795953145960633,2,NULL);
INSERT INTO "runs" VALUES('01a2272638acd42c67ef1bae501e','sprite','checkpoint','sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953146028326,1795953146039256,1,NULL);
INSERT INTO "runs" VALUES('01a227263922852535168acedd54','sprite','stop','sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','{"why": "asked for"}','["down", "detach", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953146146744,1795953146167814,1,NULL);
INSERT INTO "runs" VALUES('01a227263ac120aa2ddc8af8de67','volume','create','vol_ce5e8bdea9cc6f69','{"app": "b0a8a5ff52a038e5", "name": "data", "region": "local", "size_gb": 1, "snapshot_retention": 5, "created_us": 1795953146561254, "source": null, "snapshot": null}','["record", "disk", "ready"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953146561408,1795953146564845,1,NULL);
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
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-332622f8-3adc-4da9-87f5-c0c417b3cd11','c522aec6','web','c08a','9e46aa90d8c450','sprite-3b0754ec-218e-45b8-b2b6-9bc8268f1769','live','["a"]','{"auth":"sprite","private_access":null}','{"A":"1"}','{"ram_mb":512}',2,'v1',1795953145805098,1795953146036487,1795953145854323,NULL,'{"cold_after_s":60.0}','null');
INSERT INTO "sprites" VALUES('sprite-c1ae5b3e-8694-4724-ab76-6bab91a4a0f1','c522aec6','cold','0980','485404a53cb835','sprite-b29ec61b-2f97-4757-a8e2-800b7a02b066','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795953145932873,1795953146166897,1795953145955857,NULL,'{}','{"status":"cold","at_us":1795953146166873,"why":"asked for"}');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT, name TEXT NOT NULL DEFAULT '', role TEXT NOT NULL DEFAULT 'admin', scope TEXT NOT NULL DEFAULT 'organisation', scope_id TEXT, scope_name TEXT, expires_us BIGINT, used_us BIGINT);
INSERT INTO "tokens" VALUES('e3f1473fef0f','c522aec6','e3215dae0b7d21b3ef1c391735ae156b0a1d5bcc252b4374929bbc2995b8f27c','test',1795953145701024,NULL,'','admin','organisation',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('fbf8a752f65d','c522aec6','e928d170d6c220742e8ac0ae5844bcb95bb890040b025c88fc6ff5f654abebe9','',1795953146404868,NULL,'reader','read','organisation',NULL,NULL,NULL,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a22726374e1d38c45779ee20b9','archive',1,1,NULL,'{"path": "/tmp/tmpnop6npo4/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953145681437,1);
INSERT INTO "transitions" VALUES('01a22726374e1d38c45779ee20b9','fill',1,1,NULL,'null',1795953145690686,1);
INSERT INTO "transitions" VALUES('01a22726374e1d38c45779ee20b9','seal',1,1,NULL,'null',1795953145690968,1);
INSERT INTO "transitions" VALUES('01a22726374e1d38c45779ee20b9','publish',1,1,NULL,'null',1795953145696980,1);
INSERT INTO "transitions" VALUES('01a22726374e1d38c45779ee20b9','retire',1,1,NULL,'null',1795953145697121,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','record',1,1,NULL,'null',1795953145818653,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','disk',1,1,NULL,'null',1795953145819702,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','machine',1,1,NULL,'null',1795953145839710,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953145849438,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','world',1,1,NULL,'{"was": "none"}',1795953145854120,1);
INSERT INTO "transitions" VALUES('01a2272637c33d32757a1289813e','publish',1,1,NULL,'null',1795953145856938,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','record',1,1,NULL,'null',1795953145935023,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','disk',1,1,NULL,'null',1795953145936805,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','machine',1,1,NULL,'null',1795953145946994,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953145949497,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','world',1,1,NULL,'{"was": "none"}',1795953145955664,1);
INSERT INTO "transitions" VALUES('01a2272638439880c5b16a5e689e','publish',1,1,NULL,'null',1795953145959804,1);
INSERT INTO "transitions" VALUES('01a2272638acd42c67ef1bae501e','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953146035073,1);
INSERT INTO "transitions" VALUES('01a2272638acd42c67ef1bae501e','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953146036050}',1795953146036081,1);
INSERT INTO "transitions" VALUES('01a2272638acd42c67ef1bae501e','publish',1,1,NULL,'null',1795953146038546,1);
INSERT INTO "transitions" VALUES('01a227263922852535168acedd54','down',1,1,NULL,'null',1795953146166520,1);
INSERT INTO "transitions" VALUES('01a227263922852535168acedd54','detach',1,1,NULL,'null',1795953146166798,1);
INSERT INTO "transitions" VALUES('01a227263922852535168acedd54','publish',1,1,NULL,'null',1795953146167037,1);
INSERT INTO "transitions" VALUES('01a227263ac120aa2ddc8af8de67','record',1,1,NULL,'null',1795953146563362,1);
INSERT INTO "transitions" VALUES('01a227263ac120aa2ddc8af8de67','disk',1,1,NULL,'null',1795953146563683,1);
INSERT INTO "transitions" VALUES('01a227263ac120aa2ddc8af8de67','ready',1,1,NULL,'null',1795953146564199,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed';
CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq);
CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',20);
COMMIT;
