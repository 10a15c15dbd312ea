/* SPDX-License-Identifier: Apache-2.0 */
/*
 * customer_invite: `kairan customer invite`: double opt-in. A mail with a link goes to single
 * addresses or to a segment; the page behind the link (kairan-feedback) keeps who confirmed.
 */
#ifndef KAIRAN_CUSTOMER_INVITE_H
#define KAIRAN_CUSTOMER_INVITE_H

#include "cli.h"

int customer_invite(struct cli *cli, int argc, char **argv);

#endif
