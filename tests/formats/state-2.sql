BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795908062237757);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL);
INSERT INTO "events" VALUES(1,1795908062172213,'prepare.begun','base/minimal','{"run": "01a224764bdb78ecd1983868aeee"}');
INSERT INTO "events" VALUES(2,1795908062242738,'prepare.decided','base/minimal','{"run": "01a224764bdb78ecd1983868aeee", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(3,1795908062256153,'token.issued','token/99e43e5a8ec0','{"organisation": "local", "description": "test"}');
INSERT INTO "events" VALUES(4,1795908062267339,'create.begun','sprite/sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"run": "01a224764c3b30738bdbfb28f89d"}');
INSERT INTO "events" VALUES(5,1795908062289789,'sprite.recorded','sprite/sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"name": "drowsy"}');
INSERT INTO "events" VALUES(6,1795908062453482,'create.decided','sprite/sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"run": "01a224764c3b30738bdbfb28f89d", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(7,1795908062476297,'create.begun','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"run": "01a224764d0cd3bdf3d6b543ad20"}');
INSERT INTO "events" VALUES(8,1795908062490555,'sprite.recorded','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"name": "asleep"}');
INSERT INTO "events" VALUES(9,1795908062561247,'create.decided','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"run": "01a224764d0cd3bdf3d6b543ad20", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(10,1795908062568209,'create.begun','sprite/sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"run": "01a224764d68215930b7f4f0f8c2"}');
INSERT INTO "events" VALUES(11,1795908062577326,'sprite.recorded','sprite/sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"name": "stopping"}');
INSERT INTO "events" VALUES(12,1795908062670442,'create.decided','sprite/sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"run": "01a224764d68215930b7f4f0f8c2", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(13,1795908062682321,'hold.put','sprite/sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"hold": "build", "expires_us": null}');
INSERT INTO "events" VALUES(14,1795908062697372,'sleep.begun','sprite/sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"run": "01a224764de915ced2f09aeeaf7d"}');
INSERT INTO "events" VALUES(15,1795908062704070,'sleep.begun','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"run": "01a224764defaf6c8e0ede22eb74"}');
INSERT INTO "events" VALUES(16,1795908062719271,'sprite.warm','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"why": "unused for 30 s"}');
INSERT INTO "events" VALUES(17,1795908062719488,'sleep.decided','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"run": "01a224764defaf6c8e0ede22eb74", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(18,1795908062727431,'wake.begun','sprite/sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"run": "01a224764e078523bba346f48225"}');
INSERT INTO "events" VALUES(19,1795908062730163,'stop.begun','sprite/sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"run": "01a224764e0aef5e58c8bb4b0033"}');
CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name));
INSERT INTO "holds" VALUES('sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','build',1795908062682135,NULL);
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('7c77fc4a916e78','container',131072,1795908062334227,2147483648,2);
INSERT INTO "machines" VALUES('0516be4f432b2a','container',196608,1795908062498247,2147483648,2);
INSERT INTO "machines" VALUES('9d47d6de727c1c','container',262144,1795908062584486,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('e6bb6d1a','local',1795908062252152);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a224764bdb78ecd1983868aeee','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908062172125,1795908062246199,1,NULL);
INSERT INTO "runs" VALUES('01a224764c3b30738bdbfb28f89d','sprite','create','sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"organisation": "e6bb6d1a", "name": "drowsy", "suffix": "7b4b", "machine": "7c77fc4a916e78", "volume": "sprite-9b647573-ad9a-4358-98c9-fd184da858ca", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908062267305,1795908062475365,2,NULL);
INSERT INTO "runs" VALUES('01a224764d0cd3bdf3d6b543ad20','sprite','create','sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"organisation": "e6bb6d1a", "name": "asleep", "suffix": "6e8d", "machine": "0516be4f432b2a", "volume": "sprite-f887ee5f-023f-4527-ad0e-400e2cc50044", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908062476256,1795908062562890,2,NULL);
INSERT INTO "runs" VALUES('01a224764d68215930b7f4f0f8c2','sprite','create','sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"organisation": "e6bb6d1a", "name": "stopping", "suffix": "631c", "machine": "9d47d6de727c1c", "volume": "sprite-2dd7e87c-642f-4f7b-aa8e-84d893b18ed7", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite", "private_access": null}, "environment": {}, "config": {}, "lifecycle": {"cold_after_s": 60, "protected": true}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908062568163,1795908062681021,2,NULL);
INSERT INTO "runs" VALUES('01a224764de915ced2f09aeeaf7d','sprite','sleep','sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','{"why": "unused for 30 s", "force": true}','["freeze", "publish"]',NULL,1795908062697342,NULL,1,NULL);
INSERT INTO "runs" VALUES('01a224764defaf6c8e0ede22eb74','sprite','sleep','sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{"why": "unused for 30 s", "force": false}','["freeze", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795908062704036,1795908062726801,1,NULL);
INSERT INTO "runs" VALUES('01a224764e078523bba346f48225','sprite','wake','sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','{}','["boot", "world", "publish"]',NULL,1795908062727402,NULL,1,NULL);
INSERT INTO "runs" VALUES('01a224764e0aef5e58c8bb4b0033','sprite','stop','sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','{"why": "warm for 60 s"}','["down", "detach", "publish"]',NULL,1795908062730133,NULL,1,NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
INSERT INTO "schema_version" VALUES(6);
INSERT INTO "schema_version" VALUES(7);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT, lifecycle TEXT NOT NULL DEFAULT '{}', rested TEXT NOT NULL DEFAULT 'null',
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-df8aee11-5b44-4ac7-a734-abbf1540ee70','e6bb6d1a','drowsy','7b4b','7c77fc4a916e78','sprite-9b647573-ad9a-4358-98c9-fd184da858ca','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908062289511,1795908062429333,1795908062429330,NULL,'{"cold_after_s":60.0,"protected":true}','null');
INSERT INTO "sprites" VALUES('sprite-1ea43d43-e3ad-43c8-aa8d-18ecb83c1e1c','e6bb6d1a','asleep','6e8d','0516be4f432b2a','sprite-f887ee5f-023f-4527-ad0e-400e2cc50044','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908062490436,1795908062719188,1795908062557867,1795908062719161,'{"cold_after_s":60.0,"protected":true}','{"status":"warm","at_us":1795908062719161,"why":"unused for 30 s"}');
INSERT INTO "sprites" VALUES('sprite-9e5ca025-4e25-4664-ae5b-3faa39818a24','e6bb6d1a','stopping','631c','9d47d6de727c1c','sprite-2dd7e87c-642f-4f7b-aa8e-84d893b18ed7','live','[]','{"auth":"sprite","private_access":null}','{}','{}',1,NULL,1795908062577198,1795908062665952,1795908062665950,NULL,'{"cold_after_s":60.0,"protected":true}','null');
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('99e43e5a8ec0','e6bb6d1a','7c7d33791ab9436399fb8eb5cb6b5d7c6eb1d34382a19580a40ed13a02b90749','test',1795908062256081,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a224764bdb78ecd1983868aeee','archive',1,1,NULL,'{"path": "/tmp/tmp1gutgn1z/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795908062199379,1);
INSERT INTO "transitions" VALUES('01a224764bdb78ecd1983868aeee','fill',1,1,NULL,'null',1795908062236379,1);
INSERT INTO "transitions" VALUES('01a224764bdb78ecd1983868aeee','seal',1,1,NULL,'null',1795908062237639,1);
INSERT INTO "transitions" VALUES('01a224764bdb78ecd1983868aeee','publish',1,1,NULL,'null',1795908062242124,1);
INSERT INTO "transitions" VALUES('01a224764bdb78ecd1983868aeee','retire',1,1,NULL,'null',1795908062242349,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','record',1,1,NULL,'null',1795908062312921,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','disk',1,1,NULL,'null',1795908062333405,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','machine',1,1,NULL,'null',1795908062354112,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908062360201,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','world',1,1,NULL,'{"was": "none"}',1795908062429125,1);
INSERT INTO "transitions" VALUES('01a224764c3b30738bdbfb28f89d','publish',1,1,NULL,'null',1795908062453054,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','record',1,1,NULL,'null',1795908062496216,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','disk',1,1,NULL,'null',1795908062497633,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','machine',1,1,NULL,'null',1795908062517845,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908062533646,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','world',1,1,NULL,'{"was": "none"}',1795908062557677,1);
INSERT INTO "transitions" VALUES('01a224764d0cd3bdf3d6b543ad20','publish',1,1,NULL,'null',1795908062561015,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','record',1,1,NULL,'null',1795908062582916,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','disk',1,1,NULL,'null',1795908062584051,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','machine',1,1,NULL,'null',1795908062593243,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795908062637004,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','world',1,1,NULL,'{"was": "none"}',1795908062665736,1);
INSERT INTO "transitions" VALUES('01a224764d68215930b7f4f0f8c2','publish',1,1,NULL,'null',1795908062669991,1);
INSERT INTO "transitions" VALUES('01a224764defaf6c8e0ede22eb74','freeze',1,1,NULL,'null',1795908062718982,1);
INSERT INTO "transitions" VALUES('01a224764defaf6c8e0ede22eb74','publish',1,1,NULL,'null',1795908062719335,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',19);
COMMIT;
