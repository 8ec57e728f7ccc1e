// Package encryption keeps objects from being read where they are at rest: it seals them with
// data keys before they enter the store's log, and opens them where they are read.
//
// A [Keyring] is the store's Sealer. Data keys are made by it, live wrapped in the store itself,
// and are wrapped by keys from a file ([KeyFile]) or by a key-management plugin. A [Keyring] also
// brings what is stored in line with the configuration and the keys of the moment: see Run.
//
// It must not know what objects are, nor how they are served.
package encryption
