-- SPDX-License-Identifier: Apache-2.0
-- Amazon SES: the kinds of content it puts together itself.

ALTER TABLE stream ADD ses_content text NOT NULL DEFAULT 'raw' CHECK (ses_content IN ('raw', 'simple', 'bulk'));
COMMENT ON COLUMN stream.ses_content IS 'How runs that start later go to the API of Amazon SES: raw: whole mails; simple: subject, texts and headers, SES makes the mail; bulk: one template and up to 50 recipients in a request';
