/* SPDX-License-Identifier: Apache-2.0 */
/* letters: what people wrote, kept in reply.maildir; those that name a person are deleted with him. */
#ifndef KAIRAN_CUSTOMER_LETTERS_H
#define KAIRAN_CUSTOMER_LETTERS_H

#include "err.h"
#include "slice.h"

/*
 * Deletes the letters in new/ and cur/ of a Maildir whose text has the address, in any case and not as part of a
 * longer one. What is encoded (base64) is not looked into; who wrote a letter stands in its head, which is not. How many,
 * or -1 with err, which does not name the address.
 */
long letters_erase(const char *maildir, struct slice address, struct err *err) MUST_CHECK;

#endif
