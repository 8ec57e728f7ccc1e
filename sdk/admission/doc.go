// Package admission is the extension point for admission: a plugin changes or refuses
// writes of any type after the type's own hooks have seen them.
//
// A request passes all mutators, in order, then the schema and the type's own validation,
// then all validators, in order. Where a mutator that is a [Reinvoker] has changed the object,
// all mutators are asked a second time. The package knows no kinds and no transport.
package admission
