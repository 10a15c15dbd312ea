/* SPDX-License-Identifier: Apache-2.0 */
/* schema: the version of the database that the programs are built for, the number of the last
 * file in schema/ (a unit test compares). */
#ifndef KAIRAN_SCHEMA_H
#define KAIRAN_SCHEMA_H

#define SCHEMA_VERSION 31

#endif
