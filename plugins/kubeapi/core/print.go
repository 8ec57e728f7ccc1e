package core

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func printAge(o map[string]any) []any { return []any{show.Age(o)} }

func printCreated(o map[string]any) []any {
	return []any{tree.Str(tree.Map(o, "metadata"), "creationTimestamp")}
}

func printNamespace(o map[string]any) []any {
	return []any{tree.Str(tree.Map(o, "status"), "phase"), show.Age(o)}
}

func printNode(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	state := "Unknown"
	switch show.Condition(status, "Ready") {
	case "True":
		state = "Ready"
	case "":
	default:
		state = "NotReady"
	}
	if tree.Bool(spec, "unschedulable") {
		state += ",SchedulingDisabled"
	}
	info := tree.Map(status, "nodeInfo")
	kernel := show.Or(tree.Str(info, "kernelVersion"), show.Unknown)
	if a := tree.Str(info, "architecture"); a != "" {
		kernel += " (" + a + ")"
	}
	return []any{
		state, nodeRoles(tree.Map(tree.Map(o, "metadata"), "labels")), show.Age(o), tree.Str(info, "kubeletVersion"),
		nodeAddress(status, "InternalIP"), nodeAddress(status, "ExternalIP"),
		show.Or(tree.Str(info, "osImage"), show.Unknown), kernel,
		show.Or(tree.Str(info, "containerRuntimeVersion"), show.Unknown),
	}
}

func nodeRoles(labels map[string]any) string {
	var roles []string
	for k, v := range labels {
		if role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/"); ok && role != "" {
			roles = append(roles, role)
		} else if s, ok := v.(string); ok && k == "kubernetes.io/role" && s != "" {
			roles = append(roles, s)
		}
	}
	slices.Sort(roles)
	return show.Or(strings.Join(slices.Compact(roles), ","), show.None)
}

func nodeAddress(status map[string]any, typ string) string {
	for _, v := range tree.List(status, "addresses") {
		if a := tree.Object(v); tree.Str(a, "type") == typ {
			return tree.Str(a, "address")
		}
	}
	return show.None
}

func printService(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	ip := show.None
	if ips := tree.Strings(spec, "clusterIPs"); len(ips) > 0 {
		ip = ips[0]
	}
	var ports []string
	for _, v := range tree.List(spec, "ports") {
		p := tree.Object(v)
		port := strconv.FormatInt(tree.Int0(p, "port"), 10)
		if n := tree.Int0(p, "nodePort"); n > 0 {
			port += ":" + strconv.FormatInt(n, 10)
		}
		ports = append(ports, port+"/"+tree.Str(p, "protocol"))
	}
	return []any{
		tree.Str(spec, "type"), ip, externalIP(spec, tree.Map(o, "status")),
		show.Or(strings.Join(ports, ","), show.None), show.Age(o), show.Labels(tree.StringMap(spec, "selector")),
	}
}

func externalIP(spec, status map[string]any) string {
	external := tree.Strings(spec, "externalIPs")
	switch tree.Str(spec, "type") {
	case "ClusterIP", "NodePort":
		return show.Or(strings.Join(external, ","), show.None)
	case "LoadBalancer":
		if s := show.LoadBalancer(tree.Map(status, "loadBalancer")); s != "" {
			external = append([]string{s}, external...)
		}
		return show.Or(strings.Join(external, ","), "<pending>")
	case "ExternalName":
		return tree.Str(spec, "externalName")
	}
	return show.Unknown
}

func printEndpoints(o map[string]any) []any {
	var words []string
	for _, s := range tree.List(o, "subsets") {
		subset := tree.Object(s)
		ports := tree.List(subset, "ports")
		addresses := tree.List(subset, "addresses")
		if len(ports) == 0 {
			for _, a := range addresses {
				words = append(words, tree.Str(tree.Object(a), "ip"))
			}
		}
		for _, p := range ports {
			for _, a := range addresses {
				words = append(words, net.JoinHostPort(tree.Str(tree.Object(a), "ip"), strconv.FormatInt(tree.Int0(tree.Object(p), "port"), 10)))
			}
		}
	}
	if len(tree.List(o, "subsets")) == 0 {
		return []any{show.None, show.Age(o)}
	}
	if len(words) == 0 {
		return []any{"", show.Age(o)}
	}
	return []any{show.First(words), show.Age(o)}
}

func printConfigMap(o map[string]any) []any {
	return []any{int64(len(tree.Map(o, "data")) + len(tree.Map(o, "binaryData"))), show.Age(o)}
}

func printSecret(o map[string]any) []any {
	return []any{tree.Str(o, "type"), int64(len(tree.Map(o, "data"))), show.Age(o)}
}

func printPodTemplate(o map[string]any) []any {
	template := tree.Map(o, "template")
	names, images := show.Containers(tree.Map(template, "spec"))
	return []any{names, images, show.Labels(tree.StringMap(tree.Map(template, "metadata"), "labels"))}
}

func printController(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	names, images := show.Containers(tree.In(spec, "template", "spec"))
	return []any{
		tree.Int0(spec, "replicas"), tree.Int0(status, "replicas"), tree.Int0(status, "readyReplicas"), show.Age(o),
		names, images, show.Labels(tree.StringMap(spec, "selector")),
	}
}

func printQuota(o map[string]any) []any {
	status := tree.Map(o, "status")
	hard, used := tree.Map(status, "hard"), tree.Map(status, "used")
	var requests, limits []string
	for _, key := range slices.Sorted(maps.Keys(hard)) {
		word := fmt.Sprintf("%s: %s/%s", key, show.Or(tree.Str(used, key), "0"), tree.Str(hard, key))
		if strings.HasPrefix(key, "limits.") {
			limits = append(limits, word)
		} else {
			requests = append(requests, word)
		}
	}
	return []any{strings.Join(requests, ", "), strings.Join(limits, ", "), show.Age(o)}
}

// accessModes are the short forms of access modes.
var accessModes = []struct{ mode, short string }{
	{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"},
}

func shortModes(o map[string]any) string {
	have := tree.Strings(o, "accessModes")
	var words []string
	for _, m := range accessModes {
		if slices.Contains(have, m.mode) {
			words = append(words, m.short)
		}
	}
	return strings.Join(words, ",")
}

func orUnset(o map[string]any, key string) string {
	if s, ok := o[key].(string); ok {
		return s
	}
	return show.Unset
}

func phase(o map[string]any) string {
	if tree.Str(tree.Map(o, "metadata"), "deletionTimestamp") != "" {
		return "Terminating"
	}
	return tree.Str(tree.Map(o, "status"), "phase")
}

func class(o map[string]any) string {
	if a := tree.Str(tree.In(o, "metadata", "annotations"), "volume.beta.kubernetes.io/storage-class"); a != "" {
		return a
	}
	return tree.Str(tree.Map(o, "spec"), "storageClassName")
}

func printVolume(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	claim := ""
	if c := tree.Map(spec, "claimRef"); c != nil {
		claim = tree.Str(c, "namespace") + "/" + tree.Str(c, "name")
	}
	return []any{
		show.Or(tree.Str(tree.Map(spec, "capacity"), "storage"), "0"), shortModes(spec),
		tree.Str(spec, "persistentVolumeReclaimPolicy"), phase(o), claim, class(o),
		orUnset(spec, "volumeAttributesClassName"), tree.Str(tree.Map(o, "status"), "reason"), show.Age(o),
		orUnset(spec, "volumeMode"),
	}
}

func printClaim(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	volume := tree.Str(spec, "volumeName")
	capacity, modes := "", ""
	if volume != "" {
		capacity, modes = show.Or(tree.Str(tree.Map(status, "capacity"), "storage"), "0"), shortModes(status)
	}
	return []any{
		phase(o), volume, capacity, modes, class(o), orUnset(spec, "volumeAttributesClassName"), show.Age(o),
		orUnset(spec, "volumeMode"),
	}
}
