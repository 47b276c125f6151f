BEGIN TRANSACTION;
CREATE TABLE dataset (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	rows VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
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
INSERT INTO "migration" VALUES(1,'first tables','2026-11-26T07:33:45.385686+00:00');
CREATE TABLE pending (
	seq INTEGER NOT NULL, 
	record VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	settled BOOLEAN NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (record)
);
INSERT INTO "pending" VALUES(1,'e','t',1,'{"record":"e","task":"t","input":"the text","value":{"label":"a"},"confidence":0.5,"alternatives":{},"reason":"","created":""}');
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
INSERT INTO "record" VALUES(1,'a','t','t@1.0.0','local','answered','h',0.5,3,1,'2026-10-31T23:59:59.000+00:00','{"id":"a","task":"t","release":"t@1.0.0","tenant":"local","attempts":[{"decision":{"engine":"e","rule":"task","accepted":true,"reason":"because","confidence":0.5,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"e","confidence":0.5,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"}}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.25,"created":"2026-10-31T23:59:59.000+00:00"}');
INSERT INTO "record" VALUES(2,'b','t','t@1.0.0','local','answered','h',0.5,3,1,'2026-11-02T10:00:00.000+00:00','{"id":"b","task":"t","release":"t@1.0.0","tenant":"local","attempts":[{"decision":{"engine":"e","rule":"task","accepted":true,"reason":"because","confidence":0.5,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"e","confidence":0.5,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"}}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.5,"created":"2026-11-02T10:00:00.000+00:00"}');
INSERT INTO "record" VALUES(3,'c','t','t@1.0.0','local','answered','h',0.5,3,1,'2026-11-02T11:00:00.000+00:00','{"id":"c","task":"t","release":"t@1.0.0","tenant":"local","attempts":[{"decision":{"engine":"e","rule":"task","accepted":true,"reason":"because","confidence":0.5,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"e","confidence":0.5,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"}}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":0.125,"created":"2026-11-02T11:00:00.000+00:00"}');
INSERT INTO "record" VALUES(4,'d','t','t@1.0.0','plant','answered','h',0.5,3,1,'2026-11-03T10:00:00.000+00:00','{"id":"d","task":"t","release":"t@1.0.0","tenant":"plant","attempts":[{"decision":{"engine":"e","rule":"task","accepted":true,"reason":"because","confidence":0.5,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"e","confidence":0.5,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"}}],"outcome":"answered","input_hash":"h","latency_ms":1.0,"usd":2.0,"created":"2026-11-03T10:00:00.000+00:00"}');
INSERT INTO "record" VALUES(5,'e','t','t@1.0.0','local','review','h',0.5,3,1,'2026-11-03T11:00:00.000+00:00','{"id":"e","task":"t","release":"t@1.0.0","tenant":"local","attempts":[{"decision":{"engine":"e","rule":"task","accepted":false,"reason":"because","confidence":0.5,"threshold":null},"prediction":{"text":"","value":null,"tool_calls":[],"engine":"e","confidence":0.5,"fields":{},"places":{},"alternatives":{},"usage":{"input_tokens":3,"output_tokens":1,"cut":0},"latency_ms":0.0,"finish":"stop"}}],"outcome":"review","input_hash":"h","latency_ms":1.0,"usd":0.0,"created":"2026-11-03T11:00:00.000+00:00"}');
CREATE TABLE release (
	seq INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (name)
);
INSERT INTO "release" VALUES(1,'t@1.0.0','t','candidate','{"task":"t","version":"1.0.0","engine":"linear","base":"","dataset":"d","recipe":"r","artefact":"1.0.0","folder":"x","changelog":"","report":"","stage":"candidate","approved_by":"","created":"","left":[]}');
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
INSERT INTO "review" VALUES(1,'e','t','{"record":"e","verdict":"right","corrected":null,"note":"","reviewer":"me","decided":""}');
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
COMMIT;
