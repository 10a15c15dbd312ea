/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cov_exit: linked into the programs of coverage builds alone. What a process has covered is written when it
 * exits; children that end by _exit() would not be counted. A kill -9 still takes it along.
 */
void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

_Noreturn void
__wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
