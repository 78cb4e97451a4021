package hostclient

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Right is one verb on one resource.
type Right struct {
	Verb, Group string
	// Resource has its subresource after a slash, as in a Role.
	Resource string
	// Name narrows it to one object.
	Name string
}

// String is how a person would say it: "create pods/exec".
func (r Right) String() string {
	resource := r.Resource
	if r.Group != "" {
		resource += "." + r.Group
	}
	if r.Name != "" {
		resource += fmt.Sprintf(" %q", r.Name)
	}
	return r.Verb + " " + resource
}

// missing returns the rights in our namespace that the host does not grant. One review usually tells them all. It is
// only sure of what it grants, because an authorizer other than RBAC may not list its rules, so what it leaves open is
// asked for one by one.
func (c *checker) missing(ctx context.Context, rules []rbacv1.PolicyRule) ([]Right, error) {
	review, err := c.host.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: c.needs.Namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, Answer(c.server, fmt.Sprintf("ask for our rights in namespace %q", c.needs.Namespace), err)
	}
	open := slices.DeleteFunc(rights(rules), func(right Right) bool { return granted(review.Status.ResourceRules, right) })
	return c.denied(ctx, c.needs.Namespace, open)
}

// denied asks for each right; namespace is empty for a right that is no namespace's. It asks a few at a time, since
// there are a few dozen at most.
func (c *checker) denied(ctx context.Context, namespace string, rights []Right) ([]Right, error) {
	const parallel = 16
	var denied []Right
	for batch := range slices.Chunk(rights, parallel) {
		allowed := make([]bool, len(batch))
		tasks := make([]func() error, 0, len(batch))
		for i, right := range batch {
			tasks = append(tasks, func() (err error) { allowed[i], err = c.allowed(ctx, namespace, right); return err })
		}
		for i, err := range concurrently(tasks...) {
			if err != nil {
				return nil, err
			}
			if !allowed[i] {
				denied = append(denied, batch[i])
			}
		}
	}
	return denied, nil
}

func (c *checker) allowed(ctx context.Context, namespace string, right Right) (bool, error) {
	resource, subresource, _ := strings.Cut(right.Resource, "/")
	review, err := c.host.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: right.Verb, Group: right.Group, Resource: resource, Subresource: subresource, Name: right.Name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, Answer(c.server, fmt.Sprintf("ask for the right to %s", right), err)
	}
	return review.Status.Allowed, nil
}

// shown is how many missing rights one line names; the rest is counted.
const shown = 5

// forbidden says who may not do what, and where to allow it.
func (c *checker) forbidden(ctx context.Context, missing []Right) error {
	var names, additions []string
	for _, right := range missing[:min(len(missing), shown)] {
		names = append(names, right.String())
		addition := fmt.Sprintf("verb %s on resource %s", right.Verb, right.Resource)
		if right.Group != "" {
			addition += fmt.Sprintf(" of group %s", right.Group)
		}
		additions = append(additions, addition)
	}
	more := ""
	if left := len(missing) - len(names); left > 0 {
		more = fmt.Sprintf(" and %d more", left)
	}
	return fmt.Errorf("%s may not %s%s in namespace %q: add %s%s to Role %q (kubectl apply the tenant's manifests again)",
		c.who(ctx), strings.Join(names, ", "), more, c.needs.Namespace, strings.Join(additions, ", "), more, c.needs.Role)
}

// who names the identity that the host sees.
func (c *checker) who(ctx context.Context) string {
	review, err := c.host.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || review.Status.UserInfo.Username == "" {
		return "this process" // the name is a courtesy; the right is what matters
	}
	user := review.Status.UserInfo.Username
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		namespace, name, _ := strings.Cut(account, ":")
		if namespace == c.needs.Namespace {
			return fmt.Sprintf("ServiceAccount %q", name)
		}
		return fmt.Sprintf("ServiceAccount %q of namespace %q", name, namespace)
	}
	return fmt.Sprintf("user %q", user)
}

// rights takes rules apart.
func rights(rules []rbacv1.PolicyRule) []Right {
	var all []Right
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					for _, verb := range rule.Verbs {
						all = append(all, Right{Verb: verb, Group: group, Resource: resource, Name: name})
					}
				}
			}
		}
	}
	return all
}

// granted matches as RBAC does.
func granted(rules []authorizationv1.ResourceRule, right Right) bool {
	has := func(list []string, item string) bool {
		return slices.Contains(list, item) || slices.Contains(list, "*")
	}
	_, subresource, isSub := strings.Cut(right.Resource, "/")
	return slices.ContainsFunc(rules, func(rule authorizationv1.ResourceRule) bool {
		return has(rule.Verbs, right.Verb) && has(rule.APIGroups, right.Group) &&
			(has(rule.Resources, right.Resource) || isSub && slices.Contains(rule.Resources, "*/"+subresource)) &&
			(len(rule.ResourceNames) == 0 || right.Name != "" && slices.Contains(rule.ResourceNames, right.Name))
	})
}
