-- SPDX-License-Identifier: Apache-2.0
-- What a message has besides its texts: files, mailboxes, charsets. All of it is part of the
-- template's content, which never changes, so a run keeps what it was started with.

ALTER TABLE template ADD COLUMN options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object');
COMMENT ON COLUMN template.options IS 'sender_name, sender, reply_to_name; iso_2022_jp: domains that get that charset';
COMMENT ON COLUMN template.digest IS 'SHA-256 of subject, html, body and, when there are some, options and files';

CREATE TABLE blob (
	digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
	bytes bytea NOT NULL
);
-- images and archives do not get smaller
ALTER TABLE blob ALTER COLUMN bytes SET STORAGE EXTERNAL;
COMMENT ON TABLE blob IS 'Bytes of files, once each';
COMMENT ON COLUMN blob.digest IS 'SHA-256 of the bytes';
COMMENT ON COLUMN blob.bytes IS 'The file as it was read when the campaign was created';

CREATE TABLE template_file (
	template_id int NOT NULL REFERENCES template,
	position int NOT NULL CHECK (position BETWEEN 1 AND 20),
	name text NOT NULL,
	type text NOT NULL,
	content_id text NOT NULL DEFAULT '',
	digest text NOT NULL REFERENCES blob,
	PRIMARY KEY (template_id, position)
);
COMMENT ON TABLE template_file IS 'Files of a template, in their order';
COMMENT ON COLUMN template_file.template_id IS 'The template';
COMMENT ON COLUMN template_file.position IS 'Place among its files, from 1';
COMMENT ON COLUMN template_file.name IS 'Name as the recipient sees it';
COMMENT ON COLUMN template_file.type IS 'Media type';
COMMENT ON COLUMN template_file.content_id IS 'What the html names by cid:; empty: an attachment';
COMMENT ON COLUMN template_file.digest IS 'Its bytes';

ALTER TABLE stream ADD COLUMN auto_submitted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stream.auto_submitted IS 'Write Auto-Submitted: auto-generated (RFC 3834), which keeps answering machines quiet';

GRANT SELECT ON blob, template_file TO kairan_dispatcher, kairan_operator;
GRANT INSERT ON blob, template_file TO kairan_operator;
