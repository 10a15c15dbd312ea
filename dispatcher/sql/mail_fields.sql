-- What stands in the place of the template's fields in the claim of a run of single mails.
    , (SELECT m.sender FROM kairan.mail_send l JOIN kairan.mail m ON m.id = l.mail_id
	WHERE l.run_id = $2 AND l.send_id = c.id),
    (SELECT m.content FROM kairan.mail_send l JOIN kairan.mail m ON m.id = l.mail_id
	WHERE l.run_id = $2 AND l.send_id = c.id)
