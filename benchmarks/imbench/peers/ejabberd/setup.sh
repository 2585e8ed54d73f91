#!/bin/bash
# Import users.txt (as XEP-0227) into a new Mnesia spool and keep it in accounts/.
. "$(dirname "$0")/../lib.sh"
rm -rf accounts accounts.new
"$here/start.sh" --empty || exit 1
rc=0 first=1
while [ $rc = 0 ] && tail -n +$first "$STATE/users.txt" | grep -q .; do # in parts: a command may take 60 s
	{
		echo "<?xml version='1.0' encoding='UTF-8'?>"
		echo "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>"
		tail -n +$first "$STATE/users.txt" | head -n 500 |
			awk '{ print "<user name=\"u" $1 "\" password=\"" $2 "\"/>" }'
		echo "</host></server-data>"
	} > users.xml
	"$here/ctl.sh" import_piefxis "$dir/users.xml"; rc=$?
	first=$((first + 500))
done
"$here/stop.sh"
rm -f users.xml
[ $rc = 0 ] && cp -a data accounts.new && mv accounts.new accounts
