// Package host runs plugins: it knows which there are, launches each as a process of its
// own (or calls it in this one), gives it an identity and the permissions it was granted,
// watches over it, restarts it when it dies, and shows all of that as objects of kind
// Plugin.
//
// The same package serves beside the API server and on each node. It must not know what
// any plugin does, nor name one; only the extension points of the SDK.
package host
