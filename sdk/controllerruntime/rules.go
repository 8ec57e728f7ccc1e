package controllerruntime

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Rules reads the rules of the roles in a file as controller-gen writes it from a project's
// +kubebuilder:rbac markers (config/rbac/role.yaml), for Info's permissions, or for a test that
// compares them with the manifest's. Permissions of a
// plugin hold in all namespaces, also those of a Role. A file that can't be read is a
// mistake of the build, and a panic.
func Rules(role []byte) []rbacv1.PolicyRule {
	rules, err := rulesOf(role)
	if err != nil {
		panic(fmt.Errorf("controllerruntime.Rules: %w", err))
	}
	return rules
}

func rulesOf(role []byte) ([]rbacv1.PolicyRule, error) {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(role), 4096)
	var rules []rbacv1.PolicyRule
	for {
		var r rbacv1.ClusterRole
		switch err := documents.Decode(&r); {
		case errors.Is(err, io.EOF):
			if len(rules) == 0 {
				return nil, errors.New("there is no role with rules")
			}
			return rules, nil
		case err != nil:
			return nil, err
		}
		if r.Kind == "ClusterRole" || r.Kind == "Role" {
			rules = append(rules, r.Rules...)
		}
	}
}
