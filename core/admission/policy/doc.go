// Package policy enforces ValidatingAdmissionPolicies and MutatingAdmissionPolicies.
//
// [Policies] follows the four kinds in the store and keeps what writes are asked about in one
// immutable state, which a write loads without a lock. A policy is compiled when the first
// request matches it. Where no policy has a binding, a write costs one atomic load.
//
// A policy or binding is in force when its writer is answered, as writers of the four kinds
// wait for [Policies.Buckets].
//
// The rest of a policy's life is here too: it is checked when it is written ([Policies.Check]),
// and its expressions are checked against the schemas of what it matches
// ([Policies.RunTypeChecking]).
//
// The package must not know how requests arrive, and no kinds but these four and namespaces.
package policy
