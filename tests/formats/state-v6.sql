BEGIN TRANSACTION;
CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL);
INSERT INTO "bases" VALUES('minimal','base-minimal-0123abcd',1795953121248150);
CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id));
INSERT INTO "checkpoints" VALUES('sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','v1',1,NULL,'kept',0,1,1.5,1795953121976289);
CREATE TABLE "events" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL);
INSERT INTO "events" VALUES(1,1795953121223503,'prepare.begun','base/minimal','{"run": "01a22725d7c14c7da98e149eacbc"}');
INSERT INTO "events" VALUES(2,1795953121359924,'prepare.decided','base/minimal','{"run": "01a22725d7c14c7da98e149eacbc", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(3,1795953121373191,'token.issued','token/87ac2d1fc2f5','{"organisation": "local", "description": "test"}');
INSERT INTO "events" VALUES(4,1795953121576872,'create.begun','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"run": "01a22725d928487a8b04dc5bfe0a"}');
INSERT INTO "events" VALUES(5,1795953121579082,'sprite.recorded','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"name": "web"}');
INSERT INTO "events" VALUES(6,1795953121638014,'create.decided','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"run": "01a22725d928487a8b04dc5bfe0a", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(7,1795953121804878,'create.begun','sprite/sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"run": "01a22725da0be621440b10135153"}');
INSERT INTO "events" VALUES(8,1795953121807220,'sprite.recorded','sprite/sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"name": "cold"}');
INSERT INTO "events" VALUES(9,1795953121835899,'create.decided','sprite/sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"run": "01a22725da0be621440b10135153", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(10,1795953121969270,'checkpoint.begun','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"run": "01a22725dab1bbe1ef84c58b2b68"}');
INSERT INTO "events" VALUES(11,1795953121976765,'checkpoint.published','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"checkpoint": "v1"}');
INSERT INTO "events" VALUES(12,1795953121979215,'checkpoint.decided','sprite/sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"run": "01a22725dab1bbe1ef84c58b2b68", "ending": "done", "error": null}');
INSERT INTO "events" VALUES(13,1795953122099806,'stop.begun','sprite/sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"run": "01a22725db33993892bcbe813b37"}');
INSERT INTO "events" VALUES(14,1795953122103363,'stop.decided','sprite/sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"run": "01a22725db33993892bcbe813b37", "ending": "done", "error": null}');
CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL, memory_bytes BIGINT NOT NULL DEFAULT 2147483648, cpus BIGINT NOT NULL DEFAULT 2);
INSERT INTO "machines" VALUES('d759afca00d2c4','container',131072,1795953121582949,536870912,2);
INSERT INTO "machines" VALUES('ab927fc26d2fa1','container',196608,1795953121815866,2147483648,2);
CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL);
CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL);
INSERT INTO "organisations" VALUES('0ce94529','local',1795953121361775);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT, version BIGINT NOT NULL DEFAULT 1, parent TEXT);
INSERT INTO "runs" VALUES('01a22725d7c14c7da98e149eacbc','base','prepare','minimal','{}','["archive", "fill", "seal", "publish", "retire"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953121223399,1795953121361367,1,NULL);
INSERT INTO "runs" VALUES('01a22725d928487a8b04dc5bfe0a','sprite','create','sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"organisation": "0ce94529", "name": "web", "suffix": "4366", "machine": "d759afca00d2c4", "volume": "sprite-13eb62a7-ee88-4cbe-9367-ed0c453125da", "isolation": "container", "labels": ["a"], "url_settings": {"auth": "sprite"}, "environment": {"A": "1"}, "config": {"ram_mb": 512}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953121576823,1795953121638605,2,NULL);
INSERT INTO "runs" VALUES('01a22725da0be621440b10135153','sprite','create','sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{"organisation": "0ce94529", "name": "cold", "suffix": "fc1e", "machine": "ab927fc26d2fa1", "volume": "sprite-e2ea1788-61c9-4103-8b3d-04be4e2ae139", "isolation": "container", "labels": [], "url_settings": {"auth": "sprite"}, "environment": {}, "config": {}, "source": null, "claimed": null}','["record", "disk", "machine", "boot", "world", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953121804823,1795953121843702,2,NULL);
INSERT INTO "runs" VALUES('01a22725dab1bbe1ef84c58b2b68','sprite','checkpoint','sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','{"comment": "kept"}','["reserve", "take", "publish"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953121969231,1795953121982997,1,NULL);
INSERT INTO "runs" VALUES('01a22725db33993892bcbe813b37','sprite','stop','sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','{}','["down", "detach"]','{"ending": "done", "error": null, "code": null, "successor": null}',1795953122099764,1795953122109020,1,NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
INSERT INTO "schema_version" VALUES(2);
INSERT INTO "schema_version" VALUES(3);
INSERT INTO "schema_version" VALUES(4);
INSERT INTO "schema_version" VALUES(5);
INSERT INTO "schema_version" VALUES(6);
CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT,
        UNIQUE (organisation, name));
INSERT INTO "sprites" VALUES('sprite-34fa9f93-701a-43bc-9f13-3a5f8f7c326a','0ce94529','web','4366','d759afca00d2c4','sprite-13eb62a7-ee88-4cbe-9367-ed0c453125da','live','["a"]','{"auth": "sprite"}','{"A": "1"}','{"ram_mb": 512}',2,'v1',1795953121578874,1795953121976803,1795953121636308,NULL);
INSERT INTO "sprites" VALUES('sprite-fd7ea0d3-1716-49da-838d-8f8ceca39a52','0ce94529','cold','fc1e','ab927fc26d2fa1','sprite-e2ea1788-61c9-4103-8b3d-04be4e2ae139','live','[]','{"auth": "sprite"}','{}','{}',1,NULL,1795953121807092,1795953121828825,1795953121828817,NULL);
CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT);
INSERT INTO "tokens" VALUES('87ac2d1fc2f5','0ce94529','3768e2559c584b3fd22e02b712a1d5fc468eaad6ed57865be9b1e0b4a1dff2d7','test',1795953121373104,NULL);
CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (run, name));
INSERT INTO "transitions" VALUES('01a22725d7c14c7da98e149eacbc','archive',1,1,NULL,'{"path": "/tmp/tmpi_ftz9v5/world-minimal-0123abcd.tar", "volume": "base-minimal-0123abcd", "previous": ""}',1795953121230642,1);
INSERT INTO "transitions" VALUES('01a22725d7c14c7da98e149eacbc','fill',1,1,NULL,'null',1795953121247794,1);
INSERT INTO "transitions" VALUES('01a22725d7c14c7da98e149eacbc','seal',1,1,NULL,'null',1795953121248047,1);
INSERT INTO "transitions" VALUES('01a22725d7c14c7da98e149eacbc','publish',1,1,NULL,'null',1795953121359472,1);
INSERT INTO "transitions" VALUES('01a22725d7c14c7da98e149eacbc','retire',1,1,NULL,'null',1795953121359672,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','record',1,1,NULL,'null',1795953121581298,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','disk',1,1,NULL,'null',1795953121582390,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','machine',1,1,NULL,'null',1795953121585095,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953121587026,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','world',1,1,NULL,'{"was": "none"}',1795953121635834,1);
INSERT INTO "transitions" VALUES('01a22725d928487a8b04dc5bfe0a','publish',1,1,NULL,'null',1795953121637743,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','record',1,1,NULL,'null',1795953121812537,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','disk',1,1,NULL,'null',1795953121814395,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','machine',1,1,NULL,'null',1795953121819582,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','boot',1,1,NULL,'{"disk": {"descriptor": "disk"}}',1795953121822545,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','world',1,1,NULL,'{"was": "none"}',1795953121828382,1);
INSERT INTO "transitions" VALUES('01a22725da0be621440b10135153','publish',1,1,NULL,'null',1795953121835551,1);
INSERT INTO "transitions" VALUES('01a22725dab1bbe1ef84c58b2b68','reserve',1,1,NULL,'{"id": "v1", "number": 1}',1795953121974978,1);
INSERT INTO "transitions" VALUES('01a22725dab1bbe1ef84c58b2b68','take',1,1,NULL,'{"clean": true, "frozen_ms": 1.5, "created_us": 1795953121976289}',1795953121976319,1);
INSERT INTO "transitions" VALUES('01a22725dab1bbe1ef84c58b2b68','publish',1,1,NULL,'null',1795953121978885,1);
INSERT INTO "transitions" VALUES('01a22725db33993892bcbe813b37','down',1,1,NULL,'null',1795953122102849,1);
INSERT INTO "transitions" VALUES('01a22725db33993892bcbe813b37','detach',1,1,NULL,'null',1795953122103141,1);
CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL;
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',14);
COMMIT;
