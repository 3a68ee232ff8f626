import java.util.UUID;
import org.postgresql.ds.PGSimpleDataSource;

/** What an application does, with Sessions.java of the page. Prints a line for each answer. */
public class Scenario {
    static String show(Sessions.Answer answer) {
        boolean refused = answer.refreshToken() == null;
        System.out.println(answer.status() + " " + (refused ? answer.error() : answer.refreshToken()));
        return answer.refreshToken();
    }

    static PGSimpleDataSource source(String url) {
        var source = new PGSimpleDataSource();
        source.setUrl(url);
        return source;
    }

    public static void main(String[] arguments) throws Exception {
        var database = source(arguments[0]);
        var sessions = new Sessions(database);
        var user = new UUID(0, 7);
        String agent = "a browser";
        String ip = "192.0.2.1";

        String first = show(sessions.logIn(user, agent, ip));
        String second = show(sessions.refresh(first, agent, ip));
        String third = show(sessions.refresh(second, agent, ip));
        show(sessions.refresh(first, agent, ip));
        show(sessions.refresh(third, agent, ip));
        String other = show(sessions.logIn(user, agent, ip));
        sessions.logOut(other);
        System.out.println("204 -");
        show(sessions.refresh(other, agent, ip));
        show(sessions.refresh("nonsense", agent, ip));

        // In these modes the values are bound, or not.
        for (String mode : new String[] {"extended", "simple"}) {
            new Sessions(source(arguments[0] + "&preferQueryMode=" + mode)).logOut("in mode " + mode);
        }
        // A string is no address.
        try (var connection = database.getConnection();
                var statement = connection.prepareStatement("SELECT auth.rotate_refresh_token('', ip => ?)")) {
            statement.setString(1, ip);
            statement.execute();
            throw new AssertionError("a string is taken for an address");
        } catch (java.sql.SQLException expected) {
            assert expected.getSQLState().equals("42883");
        }
    }
}
