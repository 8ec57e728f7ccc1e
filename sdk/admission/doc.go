// Package admission is the extension point for admission: a plugin changes or refuses
// writes of any type after the type's own hooks have seen them.
//
// A request passes all mutators, in order, then the schema and the type's own validation,
// then all validators, in order. Mutators that ask for it are called again after others have
// changed the object. The package knows no kinds and no transport.
package admission
