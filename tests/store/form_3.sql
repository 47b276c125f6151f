BEGIN TRANSACTION;
CREATE TABLE api_key (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	changed INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
CREATE TABLE dataset (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	rows VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
CREATE TABLE entry (
	seq INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	about VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "entry" VALUES(1,'intent','a','{"id":"a","task":"t","tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2036-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}','8657e987c8afc742b6b44f422c61f1a59ee167a549a3140cfe706ea1a6b5d638');
INSERT INTO "entry" VALUES(2,'record','a','db6590acb35e39bb9b494fa6bf00d7e820b15b2e8ca46c430b8523918d6c4761','8b73adb922654c409799e4652145c01b32ccb744e3609c240f16d072779dfcc6');
INSERT INTO "entry" VALUES(3,'intent','b','{"id":"b","task":null,"tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2036-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}','c8e0260f08103a24babc2ea70b4acc7c667491c4a376a67548a618bdbb59f775');
INSERT INTO "entry" VALUES(4,'record','b','ec44f4e61dde6d6720231ffb1c1f1f323ef6745ae1b1159f81d26814308ca4e5','eab14a698ccfbf0c627ac1ba0092c33ac3219a5f48b3148ee2223a8605521d10');
INSERT INTO "entry" VALUES(5,'intent','c','{"id":"c","task":"t","tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2036-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}','6649f3d1776a9f0fe7eb19e786be3108aaf043b2ee50b740fd65010c4f31394e');
INSERT INTO "entry" VALUES(6,'record','c','1a39a40493fa508ace31544ff7c67cee0e9ced45ac53c20079109f94e522da63','8aeaea7635b586a5429c562dde7bc477435b16b5f238f8126ab1a6a2dcfa2e5c');
INSERT INTO "entry" VALUES(7,'intent','open','{"id":"open","task":null,"tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2036-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}','59195cb78c32f3229f4f9423e80ee1982639d7aa280359de6ec0ea92208b0b85');
INSERT INTO "entry" VALUES(8,'intent','late','{"id":"late","task":"t","tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2026-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}','bcdd10a9595b1fbbafd3d67cb5004712bfb46271dd3c69a82714f0a553197d26');
CREATE TABLE gate (
	seq INTEGER NOT NULL, 
	release VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE migration (
	number INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	applied VARCHAR NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "migration" VALUES(1,'first tables','2026-11-26T18:09:12.314236+00:00');
INSERT INTO "migration" VALUES(2,'keys and what was spent','2026-11-26T18:09:12.314236+00:00');
INSERT INTO "migration" VALUES(3,'audit chain','2026-11-26T18:09:12.314236+00:00');
CREATE TABLE open_call (
	id VARCHAR NOT NULL, 
	until VARCHAR NOT NULL, 
	process VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "open_call" VALUES('open','2036-11-26T10:02:00.000+00:00','elsewhere 0cb7ea5c-9ea5-4a24-ad2b-d9a3c3ae1d3f 12 345','{"id":"open","task":null,"tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2036-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}');
INSERT INTO "open_call" VALUES('late','2026-11-26T10:02:00.000+00:00','elsewhere 0cb7ea5c-9ea5-4a24-ad2b-d9a3c3ae1d3f 12 345','{"id":"late","task":"t","tenant":"local","input_hash":"h","created":"2026-11-26T10:00:00.000+00:00","until":"2026-11-26T10:02:00.000+00:00","caller":"","usd":0.25,"spooled":false}');
CREATE TABLE pending (
	seq INTEGER NOT NULL, 
	record VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	settled BOOLEAN NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (record)
);
CREATE TABLE probe (
	id INTEGER NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE record (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	task VARCHAR, 
	release VARCHAR, 
	tenant VARCHAR NOT NULL, 
	outcome VARCHAR NOT NULL, 
	input_hash VARCHAR NOT NULL, 
	confidence FLOAT, 
	input_tokens INTEGER NOT NULL, 
	output_tokens INTEGER NOT NULL, 
	created VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "record" VALUES(1,'a','t',NULL,'local','answered','h',NULL,3,1,'2026-11-26T10:00:01.000+00:00','{"id":"a","task":"t","release":null,"tenant":"local","attempts":[{"decision":{"engine":"hub","rule":"passthrough","accepted":true,"reason":"passed through","confidence":null,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"hub","confidence":null,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"},"usd":0.25,"found":[],"withheld":false}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.25,"created":"2026-11-26T10:00:01.000+00:00","caller":"","found":[],"spooled":false}');
INSERT INTO "record" VALUES(2,'b',NULL,NULL,'local','answered','h',NULL,3,1,'2026-11-26T10:00:01.000+00:00','{"id":"b","task":null,"release":null,"tenant":"local","attempts":[{"decision":{"engine":"hub","rule":"passthrough","accepted":true,"reason":"passed through","confidence":null,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"hub","confidence":null,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"},"usd":0.25,"found":[],"withheld":false}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.25,"created":"2026-11-26T10:00:01.000+00:00","caller":"","found":[],"spooled":false}');
INSERT INTO "record" VALUES(3,'c','t',NULL,'local','answered','h',NULL,3,1,'2026-11-26T10:00:01.000+00:00','{"id":"c","task":"t","release":null,"tenant":"local","attempts":[{"decision":{"engine":"hub","rule":"passthrough","accepted":true,"reason":"passed through","confidence":null,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"hub","confidence":null,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"},"usd":0.25,"found":[],"withheld":false}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.25,"created":"2026-11-26T10:00:01.000+00:00","caller":"","found":[],"spooled":false}');
CREATE TABLE release (
	seq INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (name)
);
CREATE TABLE report (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
CREATE TABLE review (
	seq INTEGER NOT NULL, 
	record VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (record)
);
CREATE TABLE spent (
	day VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	caller VARCHAR NOT NULL, 
	usd FLOAT NOT NULL, 
	PRIMARY KEY (day, tenant, caller)
);
INSERT INTO "spent" VALUES('2026-11-26','local','',0.75);
CREATE TABLE stage_change (
	seq INTEGER NOT NULL, 
	release VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE tenant_key (
	tenant VARCHAR NOT NULL, 
	"key" BLOB NOT NULL, 
	PRIMARY KEY (tenant)
);
CREATE INDEX ix_dataset_task ON dataset (task);
CREATE INDEX ix_report_task ON report (task);
CREATE INDEX ix_release_task ON release (task);
CREATE INDEX ix_stage_change_release ON stage_change (release);
CREATE INDEX ix_stage_change_task ON stage_change (task);
CREATE INDEX ix_gate_release ON gate (release);
CREATE INDEX record_by_task ON record (task, seq);
CREATE INDEX pending_by_task ON pending (task, settled, seq);
CREATE INDEX ix_review_task ON review (task);
CREATE INDEX ix_api_key_name ON api_key (name);
CREATE INDEX ix_api_key_changed ON api_key (changed);
COMMIT;
