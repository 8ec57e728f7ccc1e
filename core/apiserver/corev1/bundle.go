package corev1

import (
	"encoding/json"
	"fmt"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Names of the API group.
const (
	Group   = "core.pintle.dev"
	Version = "v1"
)

// Kinds.
const (
	TransactionKind = "Transaction"
	HistoryKind     = "History"
)

// Transactions is the resource that transactions are sent to.
var Transactions = runtimeschema.GroupVersionResource{Group: Group, Version: Version, Resource: "transactions"}

// APIVersion of all kinds here.
const APIVersion = Group + "/" + Version

// Bundle offers the types, so that discovery and OpenAPI show them.
func Bundle() resource.Bundle { return bundle{} }

type bundle struct{}

// Definitions implements resource.Bundle.
func (bundle) Definitions() ([]*crd.Definition, error) {
	return []*crd.Definition{{
		Group: Group, Scope: crd.ClusterScoped, Source: registry.BuiltinSource, Virtual: true,
		Names: crd.Names{Plural: "transactions", Singular: "transaction", Kind: TransactionKind, ListKind: TransactionKind + "List"},
		Versions: []crd.Version{{Name: Version, Served: true, Storage: true, Schema: func() (*schema.Schema, error) {
			s := &schema.Schema{}
			if err := json.Unmarshal([]byte(transactionSchema), s); err != nil {
				return nil, fmt.Errorf("schema of transactions: %w", err)
			}
			return s, nil
		}}},
	}}, nil
}

// Hooks implements resource.Bundle.
func (bundle) Hooks(runtimeschema.GroupResource) any { return nil }

const transactionSchema = `{"type":"object",
"description":"Transaction is a list of writes that are done together or not at all.",
"required":["operations"],
"properties":{
 "operations":{"type":"array","x-kubernetes-list-type":"atomic","description":"Writes of different objects, each with the permissions, the admission and the validation of a single one.",
  "items":{"type":"object","required":["verb"],"properties":{
   "verb":{"type":"string","description":"create, update, patch or delete.","enum":["create","update","patch","delete"]},
   "apiVersion":{"type":"string","description":"apiVersion of the object's type; may be left out where object says it."},
   "kind":{"type":"string","description":"Kind of the object; may be left out where object says it, or resource is set."},
   "resource":{"type":"string","description":"Plural name of the object's type, in place of kind."},
   "subresource":{"type":"string","description":"Empty or status."},
   "namespace":{"type":"string","description":"Namespace of the object; may be left out where object says it."},
   "name":{"type":"string","description":"Name of the object; may be left out where object says it."},
   "object":{"type":"object","description":"The object to create, to update, or to apply.","x-kubernetes-preserve-unknown-fields":true},
   "patchType":{"type":"string","description":"Media type of the patch, such as application/merge-patch+json."},
   "patch":{"description":"The patch.","x-kubernetes-preserve-unknown-fields":true},
   "preconditions":{"type":"object","description":"What the stored object has to meet.","properties":{
    "uid":{"type":"string","description":"The object's uid."},"resourceVersion":{"type":"string","description":"The object's resourceVersion."}}},
   "options":{"type":"object","description":"Options of this operation, in place of the transaction's.","properties":{
    "fieldManager":{"type":"string","description":"Who the change belongs to."},
    "fieldValidation":{"type":"string","description":"Strict, Warn or Ignore."},
    "force":{"type":"boolean","description":"Take fields from other managers; for server-side apply."},
    "gracePeriodSeconds":{"type":"integer","format":"int64","description":"Grace period of a deletion."},
    "propagationPolicy":{"type":"string","description":"Orphan, Background or Foreground, for a deletion."}}}}}},
 "status":{"type":"object","description":"What became of the transaction.","properties":{
  "resourceVersion":{"type":"string","description":"The newest resourceVersion of what was written."},
  "results":{"type":"array","x-kubernetes-list-type":"atomic","description":"What became of each operation.",
   "items":{"type":"object","properties":{
    "outcome":{"type":"string","description":"created, updated, unchanged, deleted or terminating."},
    "object":{"type":"object","description":"The object as stored.","x-kubernetes-preserve-unknown-fields":true},
    "warnings":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"atomic","description":"Warnings of the operation."}}}}}}}}`
