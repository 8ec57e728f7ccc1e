package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// claims of a token, by name.
type claims map[string]json.RawMessage

func (c claims) read(name string, into any) error {
	raw, ok := c[name]
	if !ok {
		return errors.New("claim not present")
	}
	return json.Unmarshal(raw, into)
}

// user makes a user of claims and checks both against the rules.
func (a *Authenticator) user(ctx context.Context, c claims) (resource.User, error) {
	var (
		user resource.User
		err  error
	)
	value := c.value()
	if user.Name, err = a.username(ctx, c, value); err != nil {
		return user, err
	}
	if user.Groups, err = a.groupsOf(ctx, c, value); err != nil {
		return user, err
	}
	if user.UID, err = a.uid(ctx, c, value); err != nil {
		return user, err
	}
	if user.Extra, err = a.extra(ctx, c, value); err != nil {
		return user, err
	}
	for name, want := range a.required {
		var have string
		if _, ok := c[name]; !ok {
			return user, fmt.Errorf("required claim %s not present in ID token", name)
		}
		if err := c.read(name, &have); err != nil {
			return user, fmt.Errorf("parse claim %s: %w", name, err)
		}
		if have != want {
			return user, fmt.Errorf("required claim %s value does not match. Got = %s, want = %s", name, have, want)
		}
	}
	if m := a.mapper.ClaimValidationRules; m != nil {
		results, err := m.EvalClaimMappings(ctx, value)
		if err == nil {
			err = allTrue(results)
		}
		if err != nil {
			return user, fmt.Errorf("error evaluating claim validation expression: %w", err)
		}
	}
	if m := a.mapper.UserValidationRules; m != nil {
		results, err := m.EvalUser(ctx, userValue(&user))
		if err == nil {
			err = allTrue(results)
		}
		if err != nil {
			return user, fmt.Errorf("error evaluating user info validation rule: %w", err)
		}
	}
	return user, nil
}

func (a *Authenticator) username(ctx context.Context, c claims, value *object) (string, error) {
	if a.mapper.Username != nil {
		name, err := text(a.mapper.Username.EvalClaimMapping(ctx, value))
		if err != nil {
			return "", fmt.Errorf("error evaluating username claim expression: %w", err)
		}
		if name == "" {
			return "", errors.New("empty username via CEL expression is not allowed")
		}
		return name, nil
	}
	m := a.jwt.ClaimMappings.Username
	var name string
	if err := c.read(m.Claim, &name); err != nil {
		return "", fmt.Errorf("parse username claims %q: %w", m.Claim, err)
	}
	if _, ok := c["email_verified"]; ok && m.Claim == "email" {
		var verified bool
		if err := c.read("email_verified", &verified); err != nil {
			return "", fmt.Errorf("parse 'email_verified' claim: %w", err)
		}
		if !verified {
			return "", errors.New("email not verified")
		}
	}
	return prefixed(m.Prefix, name), nil
}

func prefixed(prefix *string, name string) string {
	if prefix == nil {
		return name
	}
	return *prefix + name
}

func (a *Authenticator) groupsOf(ctx context.Context, c claims, value *object) ([]string, error) {
	m := a.jwt.ClaimMappings.Groups
	if raw, ok := c[m.Claim]; ok && m.Claim != "" {
		// Some providers give one role as a string.
		var groups []string
		if json.Unmarshal(raw, &groups) != nil {
			groups = make([]string, 1)
			if err := json.Unmarshal(raw, &groups[0]); err != nil {
				return nil, fmt.Errorf("parse groups claim %q: %w", m.Claim, err)
			}
		}
		for i, g := range groups {
			groups[i] = prefixed(m.Prefix, g)
		}
		return groups, nil
	}
	if a.mapper.Groups == nil {
		return nil, nil
	}
	r, err := a.mapper.Groups.EvalClaimMapping(ctx, value)
	if err != nil {
		return nil, fmt.Errorf("error evaluating group claim expression: %w", err)
	}
	groups, err := texts(r.EvalResult)
	if err != nil {
		return nil, fmt.Errorf("error evaluating group claim expression: %w", err)
	}
	return groups, nil
}

func (a *Authenticator) uid(ctx context.Context, c claims, value *object) (string, error) {
	if claim := a.jwt.ClaimMappings.UID.Claim; claim != "" {
		var uid string
		if err := c.read(claim, &uid); err != nil {
			return "", fmt.Errorf("parse uid claim %q: %w", claim, err)
		}
		return uid, nil
	}
	if a.mapper.UID == nil {
		return "", nil
	}
	uid, err := text(a.mapper.UID.EvalClaimMapping(ctx, value))
	if err != nil {
		return "", fmt.Errorf("error evaluating uid claim expression: %w", err)
	}
	return uid, nil
}

// credentialKey says in a user's extra fields which token it was.
const credentialKey = "authentication.kubernetes.io/credential-id"

func (a *Authenticator) extra(ctx context.Context, c claims, value *object) (map[string][]string, error) {
	extra := map[string][]string{}
	var jti string
	if c.read("jti", &jti) == nil && jti != "" {
		extra[credentialKey] = []string{"JTI=" + jti}
	}
	if a.mapper.Extra == nil {
		return extra, nil
	}
	results, err := a.mapper.Extra.EvalClaimMappings(ctx, value)
	if err != nil {
		return nil, fmt.Errorf("error evaluating extra claim expression: %w", err)
	}
	for _, r := range results {
		m, ok := r.ExpressionAccessor.(*authenticationcel.ExtraMappingExpression)
		if !ok {
			return nil, fmt.Errorf("error evaluating extra claim expression: it is a %T", r.ExpressionAccessor)
		}
		values, err := texts(r.EvalResult)
		if err != nil {
			return nil, fmt.Errorf("error evaluating extra claim expression: %s: %w", m.Expression, err)
		}
		if len(values) > 0 {
			extra[m.Key] = values
		}
	}
	return extra, nil
}

// text is the string that an expression has given.
func text(r authenticationcel.EvaluationResult, err error) (string, error) {
	if err != nil {
		return "", err
	}
	s, ok := r.EvalResult.Value().(string)
	if !ok || r.EvalResult.Type() != celgo.StringType {
		return "", fmt.Errorf("%s must return a string", r.ExpressionAccessor.GetExpression())
	}
	return s, nil
}

var errNotStrings = errors.New("expression must return a string or a list of strings")

// texts are the strings, or the one string, that an expression has given; empty ones and null
// are nothing.
func texts(v ref.Val) ([]string, error) {
	var values []any
	switch x := v.Value().(type) {
	case string:
		values = []any{x}
	case []any:
		values = x
	case []string:
		for _, s := range x {
			values = append(values, s)
		}
	case []ref.Val:
		for _, s := range x {
			values = append(values, s.Value())
		}
	default:
		if v.Type() == celgo.NullType {
			return nil, nil
		}
		return nil, errNotStrings
	}
	var out []string
	for _, x := range values {
		s, ok := x.(string)
		if !ok {
			return nil, errNotStrings
		}
		if s != "" {
			out = append(out, s)
		}
	}
	return out, nil
}

// allTrue says which rule is broken.
func allTrue(results []authenticationcel.EvaluationResult) error {
	for _, r := range results {
		ok, isBool := r.EvalResult.Value().(bool)
		if !isBool {
			return errors.New("validation expression must return a boolean")
		}
		if ok {
			continue
		}
		message := ""
		switch rule := r.ExpressionAccessor.(type) {
		case *authenticationcel.ClaimValidationCondition:
			message = rule.Message
		case *authenticationcel.UserValidationCondition:
			message = rule.Message
		}
		return fmt.Errorf("validation expression '%s' failed: %s", r.ExpressionAccessor.GetExpression(), message)
	}
	return nil
}
