/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contain_files: which files a program may touch from now on, by Landlock (Linux 5.13): those that its
 * configuration names, what the libraries read, nothing else.
 */
#ifndef KAIRAN_CONTAIN_FILES_H
#define KAIRAN_CONTAIN_FILES_H

#include "config.h"
#include "contain.h"
#include "err.h"

/* The version of Landlock that is in force; 0 when the kernel has none; -1 with err. For the
 * calling thread and what it makes afterwards. */
int contain_files(const struct config *config, enum contain_role role, struct err *err) MUST_CHECK;

#endif
