// Package admission is the extension point for admission: a plugin changes or refuses writes
// of any type. It implements [Admission], and [Mutator], [Validator] or both.
//
// A request passes the type's own hooks, then all mutators, in order, then the schema and the
// type's own validation, then all validators. Where a mutator that is a [Reinvoker] has changed
// the object, all mutators are asked a second time. Mutators of plugins come after the cluster's
// policies and webhooks, so that a plugin sees what they have made.
//
// A host asks a plugin only about what its rules name, with a deadline, and does what its
// failure policy says where no answer comes. It does not ask about what the cluster needs to
// heal itself: Plugin objects, the RBAC objects and leases, and whatever is in the namespaces
// kube-system and pintle-system. So a plugin that hangs can be removed and repaired.
//
// Plugins are told all of a [Request] but for what only exists beside the store: Managed,
// OldManaged, Convert, Decode and Memory are nil in a process of its own, and so they are in a
// plugin that is linked in. The package knows no kinds and no transport.
package admission
