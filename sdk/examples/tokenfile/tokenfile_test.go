package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func sum(token string) string {
	s := sha256.Sum256([]byte(token))
	return hex.EncodeToString(s[:])
}

// settled writes the file, and returns the settings that name it.
func settled(t *testing.T) plugintest.Case {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.json")
	content := fmt.Sprintf(`{"users":[
		{"name":"jane","groups":["developers"],"tokenSHA256":%q},
		{"name":"john","groups":["auditors"],"tokenSHA256":%q},
		{"name":"gone","disabled":true,"tokenSHA256":%q}],
	 "rules":[
		{"group":"auditors","verbs":["*"],"resources":["secrets"],"deny":true},
		{"group":"auditors","verbs":["get","list","watch"],"resources":["*"]},
		{"group":"developers","verbs":["*"],"resources":["pods"],"namespaces":["dev"]}]}`, sum("tf-jane"), sum("tf-john"), sum("tf-gone"))
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]string{"file": file})
	if err != nil {
		t.Fatal(err)
	}
	return plugintest.Case{Settings: settings, BadSettings: map[string]string{
		`{}`: "settings.file", `{"file":"relative"}`: "settings.file", `{"file":"/there/is/no/such/file"}`: "settings.file",
	}}
}

func TestAuthenticationContract(t *testing.T) {
	plugintest.RunAuthentication(t, plugintest.AuthenticationCase{
		Case: settled(t),
		New:  func() authentication.Authenticator { return &tokenfile{} },
		Good: map[string]resource.User{
			"tf-jane": {Name: "jane", Groups: []string{"developers"}}, "tf-john": {Name: "john", Groups: []string{"auditors"}},
		},
		Bad:     []string{"tf-nobody-has-this", "tf-gone"},
		Foreign: []string{"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"},
	})
}

func TestAuthorizationContract(t *testing.T) {
	as := func(group, verb, resourceName, namespace string) authorization.Attributes {
		return authorization.Attributes{User: resource.User{Name: "u", Groups: []string{group}}, Verb: verb, Version: "v1", Resource: resourceName, Namespace: namespace}
	}
	plugintest.RunAuthorization(t, plugintest.AuthorizationCase{
		Case: settled(t),
		New:  func() authorization.Authorizer { return &tokenfile{} },
		Decisions: map[string]plugintest.AccessDecision{
			"auditors read":              {Attributes: as("auditors", "list", "pods", "x"), Want: authorization.Allow},
			"auditors do not write":      {Attributes: as("auditors", "create", "pods", "x")},
			"auditors see no secrets":    {Attributes: as("auditors", "get", "secrets", "x"), Want: authorization.Deny, Reason: "members of auditors may not get secrets"},
			"developers have their pods": {Attributes: as("developers", "delete", "pods", "dev"), Want: authorization.Allow},
			"and no others":              {Attributes: as("developers", "delete", "pods", "prod")},
			"paths are others' business": {Attributes: authorization.Attributes{User: resource.User{Groups: []string{"auditors"}}, Verb: "get", Path: "/metrics"}},
		},
	})
}
