package core

import "github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"

// carryOver keeps what was given out before and is not mentioned now.
func carryOver(spec, was map[string]any) {
	if needsIP(spec) && needsIP(was) && tree.Str(spec, "clusterIP") == "" && len(tree.List(spec, "clusterIPs")) == 0 {
		set(spec, "clusterIP", was["clusterIP"])
		set(spec, "clusterIPs", tree.Copy(was["clusterIPs"]))
	}
	if needsPorts(spec) && needsPorts(was) {
		used := map[int64]bool{}
		for _, v := range tree.List(spec, "ports") {
			used[tree.Int0(tree.Object(v), "nodePort")] = true
		}
		for _, v := range tree.List(spec, "ports") {
			p := tree.Object(v)
			if p == nil || tree.Int0(p, "nodePort") != 0 {
				continue
			}
			for _, o := range tree.List(was, "ports") {
				old := tree.Object(o)
				n := tree.Int0(old, "nodePort")
				if n != 0 && !used[n] && tree.Int0(old, "port") == tree.Int0(p, "port") && tree.Str(old, "protocol") == tree.Str(p, "protocol") {
					p["nodePort"] = n
					used[n] = true
					break
				}
			}
		}
	}
	if needsHealthPort(spec) && needsHealthPort(was) && tree.Int0(spec, "healthCheckNodePort") == 0 {
		set(spec, "healthCheckNodePort", was["healthCheckNodePort"])
	}
	for _, key := range [...]string{"ipFamilies", "ipFamilyPolicy"} {
		if spec[key] == nil && needsIP(spec) && needsIP(was) {
			set(spec, key, tree.Copy(was[key]))
		}
	}
}

// normalizeIPs keeps clusterIP and clusterIPs alike where only one of them was said or
// changed.
func normalizeIPs(spec, was map[string]any) {
	ip, ips := tree.Str(spec, "clusterIP"), tree.List(spec, "clusterIPs")
	ipChanged, ipsChanged := ip != tree.Str(was, "clusterIP"), !tree.Equal(ips, tree.List(was, "clusterIPs"))
	switch {
	case ip != "" && len(ips) == 0 && (was == nil || ipChanged):
		spec["clusterIPs"] = tree.Of(ip)
	case was == nil:
	case ipChanged && !ipsChanged && ip == "":
		delete(spec, "clusterIPs")
	case ipChanged && !ipsChanged:
		spec["clusterIPs"] = append(tree.Of(ip), ips[1:]...)
	case ipsChanged && !ipChanged && len(ips) == 0:
		delete(spec, "clusterIP")
	}
}

// dropUnused drops what an old type of the service needed and the new one does not, where
// the client left it as it was.
func dropUnused(spec, was map[string]any) {
	if was == nil {
		return
	}
	if !needsIP(spec) && needsIP(was) {
		for _, key := range [...]string{"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} {
			if tree.Equal(spec[key], was[key]) {
				delete(spec, key)
			}
		}
	}
	if !needsPorts(spec) && needsPorts(was) && !external(spec) {
		for i, v := range tree.List(spec, "ports") {
			p := tree.Object(v)
			if old := tree.List(was, "ports"); i < len(old) && tree.Equal(p["nodePort"], tree.Object(old[i])["nodePort"]) {
				delete(p, "nodePort")
			}
		}
	}
	if !needsHealthPort(spec) && needsHealthPort(was) && tree.Equal(spec["healthCheckNodePort"], was["healthCheckNodePort"]) {
		delete(spec, "healthCheckNodePort")
	}
	if tree.Str(spec, "type") != "LoadBalancer" && tree.Str(was, "type") == "LoadBalancer" {
		for _, key := range [...]string{"allocateLoadBalancerNodePorts", "loadBalancerClass"} {
			if tree.Equal(spec[key], was[key]) {
				delete(spec, key)
			}
		}
	}
	if !external(spec) && external(was) && tree.Equal(spec["externalTrafficPolicy"], was["externalTrafficPolicy"]) {
		delete(spec, "externalTrafficPolicy")
	}
}
