// Package catalogue brings a plugin's files onto this machine and says whether they can be
// trusted. A [Catalogue] takes a source (a binary, a directory or an OCI artifact), finds the
// version and the platform that are wanted, checks signatures and checksums, and gives the path
// of a binary of its own that nobody else writes to. The same package makes what it reads:
// [Pack] and [Publish] for artifacts, [Sign] for signatures, [Mirror] for a site without network.
//
// It must not know how plugins run, what they do, nor the objects that wish for them.
package catalogue
