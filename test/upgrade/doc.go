// Package upgrade holds the test of upgrades under load: a plugin that takes part in each write
// of a type, by hooks and by admission, and has a controller, is upgraded and rolled back while
// clients write, in a real server. No write may fail, and nothing may be reconciled twice or
// not at all. The versions are two programs, signed and in a registry on loopback, as a stranger's are.
//
// PINTLE names a built program, as for all suites of processes. UPGRADE_WRITES is the number of
// writes per second that clients try for (1000), UPGRADE_ROUNDS how often the plugin is upgraded
// and rolled back (10).
package upgrade
