/*
 * UTS namespaces: one of the victim's own, with names that are not all text, and a child in another one with other
 * names.
 */
#include "family.h"
#include <sched.h>
#include <sys/utsname.h>

static const char *NODES[] = {"first.example", "second\xff", "first.example"};
static const char *DOMAINS[] = {"domain.example", "", "domain.example"};

static void verify(void) {
  struct utsname is;
  check(!uname(&is));
  check(!strcmp(is.nodename, NODES[me]) && !strcmp(is.domainname, DOMAINS[me]), "member %d: %s, %s", me, is.nodename,
        is.domainname);
}

static void name(int member) {
  if (unshare(CLONE_NEWUTS)) skip("no UTS namespace can be made");
  check(!sethostname(NODES[member], strlen(NODES[member])));
  check(!setdomainname(DOMAINS[member], strlen(DOMAINS[member])));
}

int main(void) {
  family_found(3);
  name(0);
  for (int child = 1; child < 3; child++) {
    if (fork()) continue;
    family_born(child);
    if (child == 1) name(1);
    family_live(verify);
  }
  family_born(0);
  family_live(verify);
}
