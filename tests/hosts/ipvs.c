/* A fake of the kernel's IPVS, which few kernels for tests have: keepalived's messages to it come
   here. It writes to keepalived's log what becomes of the real servers. In place of each message it
   sends an empty one, which the kernel acknowledges. Nothing of keepalived is replaced: it runs the
   checks and judges them as ever.

   It fakes IPVS's netlink family: keepalived 2.3 falls back to the older socket options no more. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

/* libnl's, whose headers are in a package of their own. */
struct nlmsghdr *nlmsg_hdr(void *message);
struct nlattr *nlmsg_find_attr(struct nlmsghdr *header, int length, int type);
struct nlattr *nla_find(const struct nlattr *first, int length, int type);
void *nla_data(const struct nlattr *attribute);
int nla_len(const struct nlattr *attribute);

enum { FAMILY = 0x7fff };

static const void *value(const struct nlattr *dest, int type)
{
    return nla_data(nla_find(nla_data(dest), nla_len(dest), type));
}

int genl_ctrl_resolve(void *sock, const char *name)
{
    int (*real)(void *, const char *) = dlsym(RTLD_NEXT, "genl_ctrl_resolve");

    return strcmp(name, IPVS_GENL_NAME) == 0 ? FAMILY : real(sock, name);
}

int nl_send_auto(void *sock, void *message)
{
    int (*real)(void *, void *) = dlsym(RTLD_NEXT, "nl_send_auto");
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct genlmsghdr *command = NLMSG_DATA(header);
    const struct nlattr *dest;

    if (header->nlmsg_type != FAMILY)
        return real(sock, message);
    dest = nlmsg_find_attr(header, sizeof *command, IPVS_CMD_ATTR_DEST);
    if (command->cmd == IPVS_CMD_NEW_DEST || command->cmd == IPVS_CMD_SET_DEST)
        fprintf(stderr, "IPVS: %s has weight %d\n",
                inet_ntoa(*(const struct in_addr *) value(dest, IPVS_DEST_ATTR_ADDR)),
                *(const int *) value(dest, IPVS_DEST_ATTR_WEIGHT));
    if (command->cmd == IPVS_CMD_DEL_DEST)
        fprintf(stderr, "IPVS: %s has gone\n",
                inet_ntoa(*(const struct in_addr *) value(dest, IPVS_DEST_ATTR_ADDR)));
    header->nlmsg_type = NLMSG_NOOP;
    return real(sock, message);
}
