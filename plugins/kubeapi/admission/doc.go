// Package admission is what a Kubernetes API server does to objects of the Kubernetes kinds
// beside validating them: the admission plugins that upstream's server has on by default,
// under upstream's names.
//
// What changes an object is called by the hooks of its kind, before other mutators see it;
// what only refuses is one validator, called when nothing changes the object any more. The
// plugin ResourceQuota is a validator of its own: it charges what is written, so it has to
// be the last.
//
// The package reads other objects through the request's Reader and keeps none of its own. It
// must know nothing of storage, HTTP or who else takes part in admission.
package admission
