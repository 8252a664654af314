-- The store as release 0.1.0 leaves it.  Never edited.
PRAGMA application_id = 1952541041;
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'taiqu','m001_begin','2026-11-21 21:40:39.480944+00:00');
CREATE TABLE acknowledged (
        epoch integer not null references epoch,
        lane  text    not null,
        first integer not null,
        last  integer not null check (last >= first),
        primary key (epoch, lane, first)
    ) strict, without rowid
    ;
CREATE TABLE command (
        id       text    primary key,
        digest   text    not null,        -- of its content
        issuer   text    not null,
        received real    not null,        -- Unix time
        keep     integer not null check (keep in (0, 1)),
        done     integer not null default 0 check (done in (0, 1))
    ) strict, without rowid
    ;
INSERT INTO "command" VALUES('c-1','digest','head-end',1767268800.0,0,0);
CREATE TABLE epoch (
        number integer primary key autoincrement,
        epoch  text    not null unique,   -- 64 random bits, hexadecimal
        began  real    not null,          -- Unix time
        how    text    not null,          -- why a new one was needed: startup.How
        detail text    not null           -- the same in words
    ) strict
    ;
INSERT INTO "epoch" VALUES(1,'0102030405060708',1767268800.0,'fresh','');
CREATE TABLE lane (
        epoch       integer not null references epoch,
        lane        text    not null,
        last        integer not null,     -- the highest sequence number given
        total_bytes integer not null,     -- of all bodies ever added
        primary key (epoch, lane)
    ) strict, without rowid
    ;
INSERT INTO "lane" VALUES(1,'live',2,11);
INSERT INTO "lane" VALUES(1,'urgent',1,2);
CREATE TABLE learned (
        meter  text not null,
        key    text not null,
        reason text not null,
        at     real not null,             -- Unix time
        primary key (meter, key)
    ) strict, without rowid
    ;
INSERT INTO "learned" VALUES('M01','0001FF00','no such data',1767268800.0);
CREATE TABLE meta (
        key   text primary key,
        value text not null
    ) strict, without rowid
    ;
INSERT INTO "meta" VALUES('in use','no');
CREATE TABLE outbox_live_20260101_1 ( seq integer primary key, kind text not null, created real not null, upto_bytes integer not null, body blob not null) strict;
INSERT INTO "outbox_live_20260101_1" VALUES(1,'readings',1767268800.0,5,X'6669727374');
INSERT INTO "outbox_live_20260101_1" VALUES(2,'readings',1767268800.0,11,X'7365636F6E64');
CREATE TABLE outbox_urgent_20260101_2 ( seq integer primary key, kind text not null, created real not null, upto_bytes integer not null, body blob not null) strict;
INSERT INTO "outbox_urgent_20260101_2" VALUES(1,'events',1767268800.0,2,X'7B7D');
CREATE TABLE result (
        command text    not null references command on delete cascade,
        number  integer not null,
        stage   text    not null,
        reason  text    not null,
        data    text    not null,         -- JSON
        at      real    not null,         -- Unix time
        primary key (command, number)
    ) strict, without rowid
    ;
INSERT INTO "result" VALUES('c-1',1,'accepted','','{}',1767268800.0);
CREATE TABLE segment (
        id           integer primary key autoincrement,
        epoch        integer not null references epoch,
        lane         text    not null,
        day          text    not null,    -- YYYYMMDD, UTC, when it was begun
        first        integer not null,
        last         integer,             -- null while messages are still added to it
        bytes_before integer not null,    -- the lane's total_bytes when it was begun
        unique (epoch, lane, first)
    ) strict
    ;
INSERT INTO "segment" VALUES(1,1,'live','20260101',1,NULL,0);
INSERT INTO "segment" VALUES(2,1,'urgent','20260101',1,NULL,0);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('epoch',1);
INSERT INTO "sqlite_sequence" VALUES('segment',2);
COMMIT;
