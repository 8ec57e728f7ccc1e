package others

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// apiServiceSchema is of a kind that is not among k8s.io/api.
const apiServiceSchema = `{"type":"object","description":"APIService represents a server for a particular GroupVersion. Name must be \"version.group\".","properties":{
 "spec":{"type":"object","description":"Spec contains information for locating and communicating with a server","properties":{
  "group":{"type":"string","description":"Group is the API group name this server hosts"},
  "version":{"type":"string","description":"Version is the API version this server hosts.  For example, \"v1\""},
  "groupPriorityMinimum":{"type":"integer","format":"int32","description":"The priority that the group has at least: higher comes first in discovery. The groups of Kubernetes itself have priorities between 16000 and 18000, CustomResourceDefinitions 1000."},
  "versionPriority":{"type":"integer","format":"int32","description":"The order of the version within its group: higher comes first. Versions of the same priority are ordered as Kubernetes versions are: v10, v2, v1, v1beta2."},
  "insecureSkipTLSVerify":{"type":"boolean","description":"Disables the verification of the server's certificate. It is strongly discouraged; use caBundle instead."},
  "caBundle":{"type":"string","format":"byte","description":"PEM certificates by which the server's serving certificate is verified. If unspecified, the system's trust roots are used."},
  "service":{"type":"object","description":"The service of the server. Without one this server serves the group and version itself.","properties":{
   "name":{"type":"string","description":"Name is the name of the service"},"namespace":{"type":"string","description":"Namespace is the namespace of the service"},
   "port":{"type":"integer","format":"int32","description":"The port of the service, 443 by default, between 1 and 65535."}}}}},
 "status":{"type":"object","description":"Status contains derived information about an API server","properties":{"conditions":{"type":"array","description":"Current service state of apiService.","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["type"],
  "x-kubernetes-patch-strategy":"merge","x-kubernetes-patch-merge-key":"type","items":{"type":"object","required":["type","status"],"properties":{
   "type":{"type":"string","description":"Type is the type of the condition."},"status":{"type":"string","description":"Status is the status of the condition. Can be True, False, Unknown."},
   "reason":{"type":"string","description":"Unique, one-word, CamelCase reason for the condition's last transition."},"message":{"type":"string","description":"Human-readable message indicating details about last transition."},
   "lastTransitionTime":{"type":"string","format":"date-time","description":"Last time the condition transitioned from one status to another."}}}}}}}}`

func registration() []define.Type {
	kind := in("apiregistration.k8s.io", "v1")
	t := kind("APIService", "apiservices", hook.Kind{
		OnDefault: defaultAPIService, OnPrepare: hook.DropStatus, OnValidate: validateAPIService, OnPrint: printAPIService,
	}, define.Cluster, define.APIExtensions, define.Status, define.Uncounted, define.Columns("Service", "Available", "Age"))
	t.Versions[0].Schema = sync.OnceValues(func() (*schema.Schema, error) {
		s := &schema.Schema{}
		return s, json.Unmarshal([]byte(apiServiceSchema), s)
	})
	return []define.Type{t}
}

func defaultAPIService(r *resource.Request) {
	if service := tree.Map(tree.Map(r.Object, "spec"), "service"); service != nil {
		tree.SetDefault(service, "port", int64(443))
	}
}

// validateAPIService refuses what upstream does, with its paths and messages.
func validateAPIService(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Subresource == "status" {
		return validateAPIServiceStatus(r.Object)
	}
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	group, version := tree.Str(spec, "group"), tree.Str(spec, "version")
	var errs field.ErrorList
	if name, want := tree.Str(tree.Map(r.Object, "metadata"), "name"), version+"."+group; name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	if group == "" && version != "v1" {
		errs = append(errs, field.Required(path.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if group != "" {
		for _, msg := range validation.IsDNS1123Subdomain(group) {
			errs = append(errs, field.Invalid(path.Child("group"), group, msg))
		}
	}
	for _, msg := range validation.IsDNS1035Label(version) {
		errs = append(errs, field.Invalid(path.Child("version"), version, msg))
	}
	for _, f := range [...]struct {
		key string
		max int64
	}{{"groupPriorityMinimum", 20000}, {"versionPriority", 1000}} {
		if n := tree.Int0(spec, f.key); n <= 0 || n > f.max {
			errs = append(errs, field.Invalid(path.Child(f.key), n, fmt.Sprintf("must be positive and less than %d", f.max)))
		}
	}
	return append(errs, validateAPIServiceServer(spec, path)...)
}

// validateAPIServiceServer checks where the server is and how it is trusted.
func validateAPIServiceServer(spec map[string]any, path *field.Path) (errs field.ErrorList) {
	ca, insecure := tree.Str(spec, "caBundle"), tree.Bool(spec, "insecureSkipTLSVerify")
	skip := path.Child("insecureSkipTLSVerify")
	service, ok := spec["service"].(map[string]any)
	if !ok {
		if ca != "" {
			errs = append(errs, field.Invalid(path.Child("caBundle"), fmt.Sprintf("%d bytes", base64Bytes(ca)), "local APIServices may not have a caBundle"))
		}
		if insecure {
			errs = append(errs, field.Invalid(skip, insecure, "local APIServices may not have insecureSkipTLSVerify"))
		}
		return errs
	}
	at := path.Child("service")
	for _, key := range [...]string{"namespace", "name"} {
		if tree.Str(service, key) == "" {
			errs = append(errs, field.Required(at.Child(key), ""))
		}
	}
	port := tree.Int0(service, "port")
	if msgs := validation.IsValidPortNum(int(port)); msgs != nil {
		errs = append(errs, field.Invalid(at.Child("port"), port, "port is not valid: "+strings.Join(msgs, ", ")))
	}
	if insecure && ca != "" {
		errs = append(errs, field.Invalid(skip, insecure, "may not be true if caBundle is present"))
	}
	return errs
}

// base64Bytes is how many bytes a text in base64 stands for.
func base64Bytes(text string) int { return len(strings.TrimRight(text, "=")) * 3 / 4 }

func validateAPIServiceStatus(o map[string]any) (errs field.ErrorList) {
	for i, v := range tree.List(tree.Map(o, "status"), "conditions") {
		switch status := tree.Str(tree.Object(v), "status"); status {
		case "True", "False", "Unknown":
		default:
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), status, []string{"True", "False", "Unknown"}))
		}
	}
	return errs
}

func printAPIService(o map[string]any) []any {
	service := "Local"
	if s, ok := tree.Map(o, "spec")["service"].(map[string]any); ok {
		service = tree.Str(s, "namespace") + "/" + tree.Str(s, "name")
	}
	available := "Unknown"
	for _, v := range tree.List(tree.Map(o, "status"), "conditions") {
		if c := tree.Object(v); tree.Str(c, "type") == "Available" {
			if available = tree.Str(c, "status"); available != "True" {
				available = fmt.Sprintf("%s (%s)", available, tree.Str(c, "reason"))
			}
		}
	}
	return []any{service, available, nil}
}
