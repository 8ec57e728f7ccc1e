// Package cel compiles and evaluates the CEL expressions of admission: match conditions of
// webhooks and policies, and the validations, mutations, variables and messages of policies.
//
// The language, its libraries, its cost limits and the words of its errors are upstream's, as
// is the evaluation. What is here is the way in and out: requests are trees, environments
// are built when the first expression needs them and are shared, and nothing of it takes
// memory in a server without policies.
//
// It must not know policies, webhooks or the store.
package cel
